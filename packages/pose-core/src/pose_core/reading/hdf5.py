"""Columns of HDF5 files: numbers and text that are stored in the file itself, of a size that is checked first.

HDF5 follows links to other files, loads libraries for filters, and makes gigabytes of a fill value: that is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pose_core.errors import ConfigError, DataError
from pose_core.installation import install_hint
from pose_core.plurals import size_text
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

Array = np.ndarray

MAX_ROWS = 10_000_000
"""Most rows of a column: hundreds of times those of MPII and LSP."""
MAX_FIELDS = 100
"""Most fields of a group that is read whole."""
MAX_COLUMN = 2 << 30
"""Most bytes of a column."""
MAX_RATIO = 1000
"""Most bytes that a stored byte may become, in columns larger than `ALWAYS_ALLOWED`."""
ALWAYS_ALLOWED = 64 << 20
"""Bytes that a column may have whatever its compression."""
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""Deflate, shuffle, checksum, SZIP, N-bit, scale-offset and LZF: HDF5 would load a library for any other."""
_MAX_DIMENSIONS = 4
_TEXT_STEP = 1000


class _Fault(Exception):
    """What is wrong in a file."""


def import_h5py(purpose: str) -> ModuleType:
    """Import h5py, an extra of this package."""
    try:
        import h5py
    except ImportError:
        raise ConfigError(f"{purpose} needs h5py: {install_hint('h5')}") from None
    module: ModuleType = h5py
    return module


def read_columns(file: Path, names: Sequence[str], what: str) -> dict[str, Array]:
    """Return the data sets ``names`` at the top of an HDF5 file; ``what`` describes the file in messages.

    Each is an array of numbers, of bytes, or of objects that are bytes.
    """
    with _opened(file, what) as (h5py, content):
        lacking = [name for name in names if content.get(name, getlink=True) is None]
        if lacking:
            have = ", ".join(quoted(name) for name in islice(content, 10)) or "nothing"
            raise _Fault(f"it has no field {lacking[0]!r} (it has {have})")
        return {name: _column(h5py, content, name, file.stat().st_size) for name in names}


def read_only_group(file: Path, what: str, starts: tuple[str, ...]) -> dict[str, Array]:
    """Return the data sets of the one group of an HDF5 file whose names begin with one of ``starts``."""
    with _opened(file, what) as (h5py, content):
        tops = list(islice(content, 2))
        if len(tops) != 1:
            raise _Fault(f"it has {'no group' if not tops else 'several groups'} at its top, expected one")
        if not isinstance(content.get(tops[0], getlink=True), h5py.HardLink):
            raise _Fault(f"{quoted(tops[0])} is a link to another place or file; store the data in the file itself")
        group = content[tops[0]]
        names = list(islice(group, MAX_FIELDS + 1)) if isinstance(group, h5py.Group) else []
        if not 0 < len(names) <= MAX_FIELDS:
            raise _Fault(f"{quoted(tops[0])} is not a group of 1 to {MAX_FIELDS} fields")
        names = [name for name in names if name.startswith(starts)]
        return {name: _column(h5py, group, name, file.stat().st_size) for name in names}


@contextmanager
def _opened(file: Path, what: str) -> Iterator[tuple[Any, Any]]:
    """Open a file; what is wrong within the block becomes a DataError."""
    h5py = import_h5py(f"reading {file.name}")
    open_regular(file, "annotation file").close()
    try:
        with h5py.File(file) as content:
            yield h5py, content
    except _Fault as fault:
        raise DataError(f"{file} is not {what}: {fault}") from None
    except Exception as error:  # HDF5 raises a dozen unrelated exceptions on damaged files
        raise DataError(f"{file} is not {what}: {quoted(error)}; fetch or build it again") from None


def _column(h5py: Any, content: Any, name: str, size: int) -> Array:
    """Return a data set of an open file of ``size`` bytes."""
    link = content.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise _Fault(f"{name!r} is a link to another place or file; store the data in the file itself")
    column = content[name]
    if not isinstance(column, h5py.Dataset) or column.shape is None:
        raise _Fault(f"{name!r} is not a field with data")
    if column.external or column.is_virtual:
        raise _Fault(f"{name!r} has its data in another file; store them in the file itself")
    text = h5py.check_string_dtype(column.dtype) is not None
    if not text and (column.dtype.kind not in "biufS" or (column.dtype.itemsize > 8 and column.dtype.kind != "S")):
        raise _Fault(f"{name!r} must be numbers or text, but is of the type {quoted(str(column.dtype))}")
    filters = column.id.get_create_plist()
    unknown = {filters.get_filter(index)[0] for index in range(filters.get_nfilters())} - _FILTERS
    if unknown:
        raise _Fault(f"{name!r} is compressed by the filter {min(unknown)}, which is not of HDF5; use gzip")
    _check_size(column, name)
    if text and column.dtype.kind == "O":
        return _text(column, name, size)
    return np.asarray(column[()])


def _check_size(column: Any, name: str) -> None:
    """Raise a _Fault if a data set is too large, or almost nothing of it is stored."""
    shape = column.shape
    if len(shape) > _MAX_DIMENSIONS or (shape and shape[0] > MAX_ROWS):
        raise _Fault(f"{name!r} has the shape {shape}, of at most {MAX_ROWS} rows and {_MAX_DIMENSIONS} axes")
    needed = math.prod(shape) * column.dtype.itemsize
    stored = column.id.get_storage_size()
    most = max(ALWAYS_ALLOWED, MAX_RATIO * stored) if stored else 0
    piece = math.prod(column.chunks or ()) * column.dtype.itemsize
    if needed > min(most, MAX_COLUMN) or piece > max(ALWAYS_ALLOWED, needed):
        raise _Fault(
            f"{name!r} has the shape {shape}, {size_text(max(needed, piece))}, of which {size_text(stored)} are stored"
        )


def _text(column: Any, name: str, size: int) -> Array:
    """Return text of any length. Many rows can have one long text, so few are read at a time in large files."""
    if len(column.shape) != 1:
        raise _Fault(f"{name!r} has the shape {column.shape}, expected one axis of text")
    values = np.empty(column.shape, object)
    step = max(1, min(_TEXT_STEP, ALWAYS_ALLOWED // max(size, 1)))
    total = 0
    for start in range(0, len(values), step):
        values[start : start + step] = column[start : start + step]
        total += sum(map(len, values[start : start + step]))
        if total > max(ALWAYS_ALLOWED, size):
            raise _Fault(f"{name!r} has more than {size_text(total)} of text")
    return values
