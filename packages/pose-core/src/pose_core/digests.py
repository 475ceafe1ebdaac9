"""A digest at the end of a file, which shows damage: PyTorch reads a checkpoint with a flipped bit without a word."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MARK = b"pose-core sha256 "
_SIZE = len(_MARK) + hashlib.sha256().digest_size
_CHUNK = 1 << 22


class DigestWriter:
    """A binary file that is written through, and ends with the digest of its content once `finish` is called.

    Readers of zip archives ignore what follows the archive.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None
        """The error of a failed write: `torch.save` replaces it by one that does not name the cause."""

    def write(self, data: bytes | memoryview) -> int:
        """Write and count in."""
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()

    def finish(self) -> None:
        """Write the digest."""
        self.file.write(_MARK + self.digest.digest())


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of arrays, with their names, types and shapes, in hexadecimal digits."""
    import numpy as np  # slow to import

    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def is_damaged(path: Path) -> bool:
    """Return whether a file ends with a digest that its content does not have; files without one are not damaged."""
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size - _SIZE
        if length < 0:
            return False
        file.seek(length)
        end = file.read(_SIZE)
        if not end.startswith(_MARK):
            return False
        file.seek(0)
        digest = hashlib.sha256()
        while length and (data := file.read(min(length, _CHUNK))):
            digest.update(data)
            length -= len(data)
    return _MARK + digest.digest() != end
