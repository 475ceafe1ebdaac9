"""Image bytes from folders and zip archives, and pixels from bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Literal

import cv2
import numpy as np

from pose_core.data.sources import ARCHIVE, split_source
from pose_core.errors import DataError
from pose_core.structures import ImageRecord

Color = Literal["rgb", "bgr"]

# The person annotations of every data set refer to the stored pixels, whatever EXIF says about turning them.
_DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Start-of-frame markers: each is followed by a length, a depth, the height and the width.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class Archive:
    """A zip file opened once, and its members by every name they may be asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.file = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"image archive {path} does not exist") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"image archive {path} is not a readable zip file: {error}") from None

    @cached_property
    def members(self) -> dict[str, str]:
        """Stored name by stored name, and by the name without its leading folder."""
        names = [name for name in self.file.namelist() if not name.endswith("/")]
        shortened = {name.partition("/")[2]: name for name in names if "/" in name}
        return shortened | {name: name for name in names}

    def read(self, member: str) -> bytes:
        stored = self.members.get(member.lstrip("/"))
        if stored is None:
            raise DataError(f"image {self.path}@{member} does not exist: the archive has no such member")
        try:
            return self.file.read(stored)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"image {self.path}@{member} cannot be read: {error}; fetch the archive again, or set "
                "data.on_bad_image=skip"
            ) from None


@lru_cache(maxsize=64)
def _open_archive(path: str, process: int) -> Archive:
    return Archive(path)


def open_archive(path: str) -> Archive:
    """The archive at ``path``, opened when a process first asks.

    A forked worker must not share its parent's handle: the two would move one file position. Hence a handle for each
    process id.
    """
    return _open_archive(path, os.getpid())


def image_exists(source: str) -> bool:
    path, member = split_source(source)
    if member is None:
        return os.path.isfile(path)  # noqa: PTH113  called once per image of a data set
    return member.lstrip("/") in open_archive(path).members


def missing_images(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Records whose image is not there. Lists every folder once instead of asking for each file."""
    listed: dict[str, set[str]] = {}
    missing = []
    for record in records:
        if ARCHIVE in record.source:
            there = image_exists(record.source)
        else:
            folder, _, name = record.source.rpartition(os.sep)
            if folder not in listed:
                listed[folder] = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()  # noqa: PTH112, PTH208
            there = name in listed[folder]
        if not there:
            missing.append(record)
    return missing


def read_bytes(source: str) -> bytes:
    """The encoded image; a DataError where it is missing."""
    path, member = split_source(source)
    if member is not None:
        return open_archive(path).read(member)
    try:
        with open(path, "rb") as file:  # noqa: PTH123  in the loader's hot path
            return file.read()
    except FileNotFoundError:
        raise DataError(f"image {source} does not exist") from None
    except OSError as error:
        raise DataError(f"image {source} cannot be read: {error.strerror}") from None


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG's header states; None where the bytes have no such header."""
    if content[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _FRAMES:
            return int.from_bytes(content[at + 7 : at + 9], "big"), int.from_bytes(content[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def decode_bgr(content: bytes, source: str, reduce: int = 1) -> np.ndarray:
    """Pixels ``(H, W, 3)`` uint8 in OpenCV's order; a DataError where the bytes are no image.

    ``reduce`` of 2, 4 or 8 has that fraction of the width and height, rounded up: the means of square blocks.
    """
    image = None
    flags = _DECODE if reduce == 1 else _REDUCED[reduce] | cv2.IMREAD_IGNORE_ORIENTATION
    if content:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error:  # a header that promises an absurd size
            image = None
    if image is None or is_truncated(content):
        raise DataError(
            f"image {source} does not decode ({len(content)} bytes): it is damaged, cut off or no image; fetch it "
            "again, or set data.on_bad_image=skip"
        )
    return image


def open_bgr(source: str) -> np.ndarray:
    """Pixels ``(H, W, 3)`` uint8 in OpenCV's order, EXIF orientation ignored."""
    return decode_bgr(read_bytes(source), source)


def open_image(source: str, color: Color = "rgb") -> np.ndarray:
    """Pixels ``(H, W, 3)`` uint8, EXIF orientation ignored."""
    image = open_bgr(source)
    return image if color == "bgr" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def is_truncated(content: bytes) -> bool:
    """Whether a JPEG lacks its end marker. OpenCV 4 decodes such a file and fills it up with gray; OpenCV 5 refuses."""
    return content[:2] == b"\xff\xd8" and content.rfind(b"\xff\xd9") < 0
