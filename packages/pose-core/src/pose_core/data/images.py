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
from pose_core.photos import is_truncated as is_truncated
from pose_core.structures import ImageRecord

Color = Literal["rgb", "bgr"]

# The annotations of every data set refer to the stored pixels, regardless of EXIF orientation.
_DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Start-of-frame markers: each is followed by a length, a depth, the height and the width.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class Archive:
    """An open zip file, and a lookup of its members by full or shortened name."""

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
        """Map each member's name, with and without its leading folder, to the stored name."""
        names = [name for name in self.file.namelist() if not name.endswith("/")]
        shortened = {name.partition("/")[2]: name for name in names if "/" in name}
        return shortened | {name: name for name in names}

    def read(self, member: str) -> bytes:
        """Return the bytes of a member; raise a DataError if it is missing or damaged."""
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
    """Return the archive at ``path``, opened once per process.

    The cache is keyed by process id because a forked worker must not share its parent's file position.
    """
    return _open_archive(path, os.getpid())


def image_exists(source: str) -> bool:
    """Return whether the file or archive member of ``source`` exists."""
    path, member = split_source(source)
    if member is None:
        return os.path.isfile(path)  # noqa: PTH113  called once per image of a data set
    return member.lstrip("/") in open_archive(path).members


def missing_images(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Return the records whose image is missing. Each folder is listed once, which is faster than testing each file."""
    listed: dict[str, set[str]] = {}
    missing = []
    for record in records:
        if ARCHIVE in record.source:
            present = image_exists(record.source)
        else:
            folder, _, name = record.source.rpartition(os.sep)
            if folder not in listed:
                listed[folder] = set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()  # noqa: PTH112, PTH208
            present = name in listed[folder]
        if not present:
            missing.append(record)
    return missing


def read_bytes(source: str) -> bytes:
    """Return the bytes of an encoded image; raise a DataError if it is missing."""
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
    """Return the width and height in a JPEG's header, or None if the bytes have no such header."""
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
    """Decode to pixels ``(H, W, 3)`` uint8 BGR; raise a DataError if the bytes are not an image.

    ``reduce`` of 2, 4 or 8 divides width and height by that number, rounded up, by averaging square blocks.
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
            f"image {source} does not decode ({len(content)} bytes): it is damaged, truncated or not an image; "
            "fetch it again, or set data.on_bad_image=skip"
        )
    return image


def open_bgr(source: str) -> np.ndarray:
    """Read pixels ``(H, W, 3)`` uint8 BGR, ignoring EXIF orientation."""
    return decode_bgr(read_bytes(source), source)


def open_image(source: str, color: Color = "rgb") -> np.ndarray:
    """Read pixels ``(H, W, 3)`` uint8 in the order ``color``, ignoring EXIF orientation."""
    image = open_bgr(source)
    return image if color == "bgr" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
