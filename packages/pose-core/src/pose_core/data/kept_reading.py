"""What was read from files, read again only once one of them has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
RECENT = 2 * 10**9
"""Nanoseconds: a file that was written so shortly before it was read may change again without a new time."""


class KeptReading(Generic[T]):
    """A function that returns what ``read`` returns, and keeps it for as long as the files it came from are the same.

    ``files_of`` returns these files, or None for what must not be kept. A file is the same if its size and its time
    are, and if it cannot be found for a moment.
    """

    def __init__(self, read: Callable[[], T], files_of: Callable[[T], Iterable[Path] | None]) -> None:
        self.read, self.files_of = read, files_of
        self._kept: tuple[T, Mapping[Path, tuple[int, int] | None]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # another process reads the files itself

    def __call__(self) -> T:
        """Return the content of the files."""
        if self._kept is not None:
            value, states = self._kept
            if all(_state(file) in (state, None) for file, state in states.items()):
                return value
        self._kept = None  # frees its memory before more is read
        limit = time.time_ns() - RECENT
        value = self.read()
        files = self.files_of(value)
        if files is not None:
            states = {file: _state(file) for file in files}
            if all(state is not None and state[1] < limit for state in states.values()):
                self._kept = value, states
        return value


def _state(file: Path) -> tuple[int, int] | None:
    """Return a file's size and time of change; None if it cannot be found."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
