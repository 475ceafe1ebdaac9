"""Members of tar archives, found by reading headers only and read at their place, within limits."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pose_core.errors import DataError, UnreadableError
from pose_core.plurals import counted, size_text
from pose_core.reading.archives import MAX_IMAGE_BYTES, MAX_MEMBERS
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

MAX_HEADER = 1 << 20
"""Most bytes of a header with what does not fit into 512 bytes, such as a long name."""
_BLOCK = tarfile.BLOCKSIZE


class TarMember(NamedTuple):
    """A file in a tar archive: its name as text, and where its bytes are."""

    name: str
    at: int
    size: int


class _Headers:
    """A file of which only headers are read: a member's size may say anything."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"it has a header of {size_text(size)}")
        return self.file.read(size)


def tar_members(path: Path) -> Iterator[TarMember]:
    """Yield the regular files of an uncompressed tar archive; raise a DataError where it is damaged."""
    where, count = f"archive {path}", 0
    with open_regular(path, "archive") as file:
        try:
            with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:  # type: ignore[call-overload]
                while member := archive.next():
                    archive.members.clear()  # it would keep them all
                    count += 1
                    if count > MAX_MEMBERS:
                        raise DataError(f"{where} has over {MAX_MEMBERS} members: divide it")
                    if member.isreg() and not member.issparse():
                        yield TarMember(_text(member.name), member.offset_data, member.size)
                file.seek(archive.offset)
                rest = file.read(_BLOCK)
        except DataError:
            raise
        except Exception as error:  # tarfile raises unrelated exceptions on damaged files
            raise UnreadableError(f"{where} is damaged after {counted(count, 'member')}: {quoted(error)}") from None
    if rest.strip(b"\0"):  # tarfile ends without a word at a header that is none
        raise UnreadableError(f"{where} is damaged after {counted(count, 'member')}: what follows is no member")


def read_tar_member(path: Path, member: TarMember) -> bytes:
    """Return the bytes of a member that `tar_members` found; raise a DataError if the archive has changed since."""
    where = f"image {path}@{member.name}"
    if member.size > MAX_IMAGE_BYTES:
        raise DataError(f"{where} is too large: {size_text(member.size)}, of at most {size_text(MAX_IMAGE_BYTES)}")
    with open_regular(path, "archive") as file:
        try:
            file.seek(member.at - _BLOCK)
            header = file.read(_BLOCK)
            content = file.read(member.size)
        except OSError as error:
            raise UnreadableError(f"{where} cannot be read: {error.strerror}") from None
    try:
        found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
    except tarfile.HeaderError:
        found = -1
    # A long name stands before this header, and so may a size beyond 8 GiB, which no image has.
    if found != member.size:
        raise UnreadableError(f"{where} is not where it was: the archive has changed; use another --out")
    if len(content) < member.size:
        raise UnreadableError(f"{where} is cut off: the archive is incomplete; fetch it again")
    return content


def _text(name: str) -> str:
    """Return a member's name as text: bytes that are none become ``\\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
