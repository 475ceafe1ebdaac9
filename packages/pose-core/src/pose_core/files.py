"""Atomic writing: a file is written completely or not at all, by renaming a temporary file in the same folder.

Files that grow in place, which are never reached through a link. And locks, which end with the process that holds them.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO

from pose_core.errors import PoseError

IS_A_LINK = "it is a link to another file, which is not followed: remove it"

_UMASK = Lock()
"""The umask can only be read by changing it, which two threads must not do at once."""


@contextmanager
def whole_file(path: str | Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` when the block succeeds, and is deleted when it fails.

    Without ``sync`` a power failure may leave the file empty: for results that can be made again, which are many.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise PoseError(f"cannot write {target}: {error.strerror}") from None
    try:
        with handle:
            yield handle
            handle.flush()
            if sync:
                os.fsync(handle.fileno())
        # A temporary file is private to its owner; the target gets the user's umask.
        with _UMASK:
            umask = os.umask(0)
            os.umask(umask)
        Path(handle.name).chmod(0o666 & ~umask)
        Path(handle.name).replace(target)
    except BaseException as error:
        Path(handle.name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise PoseError(f"cannot write {target}: {error.strerror}") from None
        raise


def write_text(path: str | Path, text: str, *, sync: bool = True) -> None:
    """Write a text file atomically."""
    with whole_file(path, sync=sync) as file:
        file.write(text.encode())


def write_json(
    path: str | Path, content: Any, *, indent: int | None = None, sort_keys: bool = False, sync: bool = True
) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=indent, sort_keys=sort_keys), sync=sync)


def open_in_place(path: str | Path, *, private: bool = False) -> BinaryIO:
    """Open a file to append to and to read, which is made if needed, without a buffer.

    ``private`` makes it the owner's alone. Raise OSError if the path is a link, or no regular file: a link that someone
    has put there would lead the writing to another file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    # A pipe would wait for a reader without O_NONBLOCK, which regular files ignore.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if not hasattr(os, "O_NOFOLLOW") and Path(path).is_symlink():
        raise OSError(errno.ELOOP, IS_A_LINK)
    try:
        handle = os.open(path, flags, 0o600 if private else 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, IS_A_LINK) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    return os.fdopen(handle, "r+b", buffering=0)


def lock_file(file: IO[Any]) -> None:
    """Lock an open file until it is closed; raise OSError (EACCES or EAGAIN) if another process has locked it.

    Child processes do not inherit the lock.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 30)  # Windows refuses to read what is locked: far behind the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
