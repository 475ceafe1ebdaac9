"""Annotation files in JSON, with errors that name the file and the line."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pose_core.data.patience import read_patiently
from pose_core.errors import DataError

_read_before: set[Path] = set()


def read_json(file: Path, what: str = "annotation file") -> Any:
    """Return the content of a JSON file; raise a DataError if it is missing or malformed.

    One that this process has read before may be away for a moment: then it is tried again.
    """
    read = partial(_read_bytes, file, what)
    text = read_patiently(read) if file in _read_before else read()
    _read_before.add(file)
    try:
        with collector_paused():
            return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{what} {file} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}; "
            "it may have been truncated while it was copied; fetch it again"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{what} {file} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _read_bytes(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise DataError(f"{what} {file} {reason}") from None


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: its search of millions of parsed objects takes a third of the reading time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
