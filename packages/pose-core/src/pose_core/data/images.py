"""Image bytes from folders and zip archives, and pixels from bytes."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from functools import cached_property, lru_cache, partial
from typing import Literal

import cv2
import numpy as np

from pose_core.data.sources import ARCHIVE, check_inside, split_source
from pose_core.errors import DataError
from pose_core.photos import is_truncated as is_truncated
from pose_core.reading import patience
from pose_core.reading.patience import read_patiently
from pose_core.structures import ImageRecord

Color = Literal["rgb", "bgr"]

MAX_IN_VAIN = 5
"""Images for which a process waits in vain before it does not wait any more, where bad images are skipped."""

_in_vain: list[str] = []

# The annotations of every data set refer to the stored pixels, regardless of EXIF orientation.
_DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Start-of-frame markers: each is followed by a length, a depth, the height and the width.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


class UnreadableError(DataError):
    """An image that cannot be read, but perhaps a moment later: its file system may be away."""


class Archive:
    """An open zip file, and a lookup of its members by full or shortened name."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.file = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise UnreadableError(f"image archive {path} does not exist") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise UnreadableError(f"image archive {path} is not a readable zip file: {error}") from None

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
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error) as error:
            raise UnreadableError(
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
    """Return the records whose image is missing. Each folder is listed once, which is faster than testing each file.

    Raise a DataError for one that is a link out of its folder: see `check_inside`.
    """
    listed: dict[str, dict[str, bool]] = {}
    missing = []
    for record in records:
        if ARCHIVE in record.source:
            present = image_exists(record.source)
        else:
            folder, _, name = record.source.rpartition(os.sep)
            if folder not in listed:
                listed[folder] = _names(folder or ".")
            is_link = listed[folder].get(name)
            present = is_link is not None
            if is_link:
                check_inside(record.source, folder, record.source)
        if not present:
            missing.append(record)
    return missing


def _names(folder: str) -> dict[str, bool]:
    """Return what is in a folder, and whether it is a link; nothing if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_symlink() for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def read_bytes(source: str) -> bytes:
    """Return the bytes of an encoded image; raise a DataError if it is missing."""
    path, member = split_source(source)
    if member is not None:
        return open_archive(path).read(member)
    try:
        with open(path, "rb") as file:  # noqa: PTH123  in the loader's hot path
            return file.read()
    except FileNotFoundError:
        raise UnreadableError(f"image {source} does not exist") from None
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"image {source} cannot be read: {error.strerror}") from None
    except OSError as error:
        raise UnreadableError(f"image {source} cannot be read: {error.strerror}") from None


def read_annotated(source: str, *, skips: bool = False) -> bytes:
    """Return the bytes of an image that existed when its data set was read; if it cannot be read now, try again.

    A network file system that is away for a moment must not end a training. Where bad images are skipped, missing ones
    must not take much time: there a process waits in vain `MAX_IN_VAIN` times.
    """
    if skips and len(_in_vain) >= MAX_IN_VAIN:
        return read_bytes(source)
    try:
        return read_patiently(partial(_read_anew, source), UnreadableError)
    except UnreadableError as error:
        if skips:
            _in_vain.append(source)
            raise
        raise UnreadableError(
            f"{error}. It was tried again for {sum(patience.WAITS):g} s; once it is back, run the same command again, "
            "a training with --resume"
        ) from None


def _read_anew(source: str) -> bytes:
    try:
        return read_bytes(source)
    except UnreadableError:
        _open_archive.cache_clear()  # its handles may be stale
        raise


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


def open_annotated(source: str, color: Color = "rgb", *, skips: bool = False) -> np.ndarray:
    """Read pixels as `open_image` does, but try again as `read_annotated` does."""
    image = decode_bgr(read_annotated(source, skips=skips), source)
    return image if color == "bgr" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
