"""Image bytes from folders and zip archives, and pixels from bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Literal

import cv2
import numpy as np

from pose_core.data.sources import ARCHIVE, check_inside, split_source
from pose_core.errors import DataError, UnreadableError
from pose_core.reading import patience
from pose_core.reading.archives import Archive
from pose_core.reading.images import MAX_BYTES, FaultError, decode
from pose_core.reading.images import is_truncated as is_truncated
from pose_core.reading.images import jpeg_size as jpeg_size
from pose_core.reading.patience import read_patiently
from pose_core.structures import ImageRecord

Color = Literal["rgb", "bgr"]

MAX_IN_VAIN = 5
"""Images for which a process waits in vain before it does not wait any more, where bad images are skipped."""

_in_vain: list[str] = []
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

# The annotations of every data set refer to the stored pixels, regardless of EXIF orientation.
_DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


@lru_cache(maxsize=64)
def _open_archive(path: str, process: int, inode: int, size: int, changed: int) -> Archive:
    return Archive(path)


def open_archive(path: str) -> Archive:
    """Return the archive at ``path``, opened once per process, and anew when the file is another one.

    The cache is keyed by process id because a forked worker must not share its parent's file position.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  called once per image
    except (OSError, ValueError):
        return Archive(path)  # says what is wrong
    return _open_archive(path, os.getpid(), status.st_ino, status.st_size, status.st_mtime_ns)


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


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _NONBLOCK)


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
        # A pipe without a writer would block here without O_NONBLOCK, which regular files ignore.
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
                why = "it is too large" if stat.S_ISREG(found.st_mode) else "it is a pipe or a device, not a file"
                raise DataError(f"image {source} cannot be read: {why}")
            return file.read(found.st_size)
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
        return read_patiently(partial(_read_anew, source))
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


def decode_bgr(content: bytes, source: str, reduce: int = 1) -> np.ndarray:
    """Decode to pixels ``(H, W, 3)`` uint8 BGR; raise a DataError if the bytes are not an image.

    ``reduce`` of 2, 4 or 8 divides width and height by that number, rounded up, by averaging square blocks.
    """
    flags = _DECODE if reduce == 1 else _REDUCED[reduce] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return decode(content, flags)
    except FaultError as fault:
        raise DataError(
            f"image {source} does not decode ({len(content)} bytes): it {fault}; fetch it again, or set "
            "data.on_bad_image=skip"
        ) from None


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
