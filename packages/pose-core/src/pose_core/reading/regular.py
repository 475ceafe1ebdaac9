"""Bytes of regular files: a pipe or a device, which may never end, is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from pose_core.errors import DataError, PoseError, UnreadableError
from pose_core.plurals import size_text


def open_regular(path: str | Path, what: str, *, error: type[PoseError] = DataError) -> BinaryIO:
    """Open a file to read; raise ``error`` if it is missing, unreadable, or not a regular file.

    ``what`` describes the file at the start of messages, ``"annotation file"``. Of data, one that is missing or cannot
    be read is an UnreadableError.
    """
    away = UnreadableError if error is DataError else error
    try:
        # A pipe without a writer would block here without O_NONBLOCK, which regular files ignore.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise away(f"{what} {path} does not exist") from None
    except IsADirectoryError:
        raise error(f"{what} {path} is a folder, not a file") from None
    except ValueError:  # a zero byte
        raise error(f"{what} {str(path)!r} cannot exist: its name holds a zero character") from None
    except OSError as reason:
        raise away(f"{what} {path} cannot be read: {reason.strerror}") from None
    kind = os.fstat(handle).st_mode
    if not stat.S_ISREG(kind):
        os.close(handle)
        name = "a folder" if stat.S_ISDIR(kind) else "a pipe or a device"
        raise error(f"{what} {path} is {name}, not a file")
    return os.fdopen(handle, "rb")


def read_regular(path: str | Path, what: str, *, limit: int, error: type[PoseError] = DataError) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes."""
    with open_regular(path, what, error=error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise error(f"{what} {path} is too large: {size_text(size)}, of at most {size_text(limit)}")
            return file.read(size)  # with the limit in its place, so much memory would be set aside
        except OSError as reason:
            away = UnreadableError if error is DataError else error
            raise away(f"{what} {path} cannot be read: {reason.strerror}") from None
