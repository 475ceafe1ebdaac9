"""Annotation files in MATLAB's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pose_core.errors import DataError


def read_matlab(file: Path, variable: str, what: str, *, structs: bool = False) -> Any:
    """Return one variable of a ``.mat`` file; structs become objects with attributes."""
    from scipy.io import loadmat  # slow to import

    if not file.exists():
        raise DataError(f"annotation file {file} does not exist")
    try:
        content = loadmat(file, struct_as_record=False, squeeze_me=True) if structs else loadmat(file)
        return content[variable]
    except Exception as error:  # scipy and zlib raise many unrelated exceptions on damaged files
        raise DataError(f"{file} is not {what}: {error}") from None
