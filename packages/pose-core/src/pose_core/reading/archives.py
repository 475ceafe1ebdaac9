"""Zip archives: members are found by full or shortened name and read within limits, whatever their headers say."""

from __future__ import annotations

import zipfile
from functools import cached_property
from typing import BinaryIO

from pose_core.errors import DataError, UnreadableError
from pose_core.plurals import size_text
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

MAX_MEMBERS = 4_000_000
"""Most members of an archive: over ten times those of the largest data sets of people."""
MAX_IMAGE_BYTES = 1 << 30
"""Most bytes of an encoded image: an uncompressed one of 300 megapixels."""
MAX_RATIO = 300
"""Most bytes that a byte of an archive may become, in members larger than `ALWAYS_ALLOWED`."""
ALWAYS_ALLOWED = 64 << 20
"""Bytes that a member may have whatever its compression: a blank picture compresses a thousandfold."""
_CHUNK = 1 << 20


class Archive:
    """An open zip file, and a lookup of its members by full or shortened name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = open_zip(open_regular(path, "image archive"), f"image archive {path}")

    @cached_property
    def members(self) -> dict[str, str]:
        """Map each member's name, with and without its leading folder, to the stored name."""
        names = [name for name in self.file.namelist() if not name.endswith("/")]
        shortened = {name.partition("/")[2]: name for name in names if "/" in name}
        return shortened | {name: name for name in names}

    def read(self, member: str) -> bytes:
        """Return the bytes of a member; raise a DataError if it is missing or damaged."""
        where = f"image {self.path}@{member}"
        stored = self.members.get(member.lstrip("/"))
        if stored is None:
            raise DataError(f"{where} does not exist: the archive has no such member")
        return read_member(
            self.file, stored, where, MAX_IMAGE_BYTES, "fetch the archive again, or set data.on_bad_image=skip"
        )


def open_zip(file: BinaryIO, where: str) -> zipfile.ZipFile:
    """Open a zip archive, whose name in messages is ``where``; close the file if that fails."""
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # zipfile raises a dozen unrelated exceptions on damaged files
        file.close()
        raise UnreadableError(f"{where} is not a readable zip file: {quoted(error)}") from None
    if len(archive.infolist()) > MAX_MEMBERS:
        file.close()
        raise DataError(f"{where} has {len(archive.infolist())} members, of at most {MAX_MEMBERS}")
    return archive


def read_member(archive: zipfile.ZipFile, stored: str, where: str, limit: int, advice: str) -> bytes:
    """Return the bytes of a member, which must exist; raise a DataError if it is damaged, encrypted or too large."""
    info = archive.getinfo(stored)
    if info.flag_bits & 1:
        raise DataError(f"{where} is encrypted: unpack the archive, and pack it again without a password")
    allowed = min(limit, max(ALWAYS_ALLOWED, MAX_RATIO * info.compress_size))
    if info.file_size > allowed:
        raise DataError(
            f"{where} is too large: {size_text(info.file_size)} from {size_text(info.compress_size)}, of at most "
            f"{size_text(allowed)}; unpack it if you trust the archive"
        )
    parts: list[bytes] = []
    size = 0
    try:
        with archive.open(info) as member:
            # A chunk may come to more than what the header says, and the decompressor may make much of little.
            while part := member.read(_CHUNK):
                parts.append(part)
                size += len(part)
                if size > info.file_size:
                    raise zipfile.BadZipFile("it is longer than its header says")
    except Exception as error:  # zipfile and four decompressors raise unrelated exceptions on damaged files
        raise UnreadableError(f"{where} cannot be read: {quoted(error)}; {advice}") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)
