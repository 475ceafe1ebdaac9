"""Tables of pandas in HDF5 files, in its ``fixed`` form, which DeepLabCut writes: read and written without pandas.

A table is one group: the names of columns (``axis0``) and rows (``axis1``) in levels with numbers that point into them,
or one list of names, and blocks of numbers with the columns that each holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pose_core.errors import DataError
from pose_core.files import whole_file
from pose_core.reading.hdf5 import import_h5py, read_only_group

Array = np.ndarray
Fields = dict[str, Array]
Name = tuple[str, ...]

KEY = "df_with_missing"
"""The name of DeepLabCut's table."""
_NONE = "N."
"""None, pickled: the name of a level that has none. Only pickles are stored as bytes, other texts as UTF-8."""
LEVELS = {3: ("scorer", "bodyparts", "coords"), 4: ("scorer", "individuals", "bodyparts", "coords")}
"""The names of the levels of columns, by their number: of one animal, and of several."""


def read_table(file: Path, what: str) -> tuple[list[Name], list[Name], Array]:
    """Return the names of rows and columns, in levels, and the numbers ``(rows, columns)`` float64."""
    fields = read_only_group(file, what, ("axis", "block"))
    if "block0_values" not in fields:
        raise DataError(
            f"{file} is not {what} in pandas' fixed form; save it with to_hdf(…, format='fixed'), or give the CSV file"
        )
    columns, rows = _names(fields, "axis0", file), _names(fields, "axis1", file)
    places = {name: number for number, name in enumerate(columns)}
    values = np.full((len(rows), len(columns)), np.nan)
    block = 0
    while f"block{block}_values" in fields:
        names, numbers = _names(fields, f"block{block}_items", file), fields[f"block{block}_values"]
        if (
            numbers.shape != (len(rows), len(names))
            or numbers.dtype.kind not in "fiu"
            or not set(names) <= set(columns)
        ):
            raise DataError(f"{file} is damaged: block {block} has the shape {numbers.shape}; export it again")
        values[:, [places[name] for name in names]] = numbers
        block += 1
    return rows, columns, values


def _names(fields: Fields, axis: str, file: Path) -> list[Name]:
    """Return the names along an axis."""
    if axis in fields:
        return [(name,) for name in _texts(fields[axis], axis, file)]
    found: list[list[str]] = []
    while f"{axis}_level{len(found)}" in fields and f"{axis}_label{len(found)}" in fields:
        level = _texts(fields[f"{axis}_level{len(found)}"], axis, file)
        numbers = fields[f"{axis}_label{len(found)}"]
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (len(numbers) and not _within(numbers, len(level))):
            raise DataError(f"{file} is damaged: the names of {axis} point to nothing; export it again")
        found.append([level[number] for number in numbers.tolist()])
    if not found or len({len(level) for level in found}) > 1:
        raise DataError(f"{file} is damaged: the names of {axis} are not complete; export it again")
    return list(zip(*found, strict=True))


def _within(numbers: Array, count: int) -> bool:
    return bool(numbers.min() >= 0 and numbers.max() < count)


def _texts(names: Array, axis: str, file: Path) -> list[str]:
    if names.ndim != 1:
        raise DataError(f"{file} is damaged: the names of {axis} have the shape {names.shape}; export it again")
    listed = names.tolist()
    try:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in listed]
    except UnicodeDecodeError:
        raise DataError(f"{file}: the names of {axis} are not UTF-8 text") from None


def write_table(file: Path, rows: Sequence[Name], columns: Sequence[Name], values: Array) -> None:
    """Write a table as ``pandas.read_hdf`` reads it, with levels of names for rows and for columns."""
    h5py = import_h5py(f"writing {file.name}")
    kinds = LEVELS[len(columns[0])]
    with TemporaryDirectory() as folder:
        place = Path(folder) / "table.h5"
        with h5py.File(place, "w") as content:
            usual: dict[str, str | int] = {"CLASS": "GROUP", "TITLE": "", "VERSION": "1.0"}
            _attributes(content, {**usual, "PYTABLES_FORMAT_VERSION": "2.1"})
            group = content.create_group(KEY)
            frame: dict[str, str | int] = {"pandas_type": "frame", "ndim": 2, "nblocks": 1}
            _attributes(group, {**usual, **frame, "encoding": "UTF-8", "errors": "strict"})
            for axis, names, kind in (("axis0", columns, kinds), ("axis1", rows, ()), ("block0_items", columns, kinds)):
                _write_names(group, axis, names, kind)
            _write_array(group, "block0_values", values.astype(np.float64))
        with whole_file(file) as opened:
            opened.write(place.read_bytes())


def _write_names(group: Any, axis: str, names: Sequence[Name], kinds: Sequence[str]) -> None:
    """Write the levels of an axis, named by ``kinds`` if there are any."""
    levels = list(zip(*names, strict=True))
    _attributes(group, {f"{axis}_variety": "multi", f"{axis}_nlevels": len(levels)})
    for number, level in enumerate(levels):
        texts = sorted(set(level))  # pandas keeps levels sorted
        kind = kinds[number] if kinds else _NONE
        known = {text: place for place, text in enumerate(texts)}
        numbers = np.array([known[text] for text in level])
        _write_array(group, f"{axis}_label{number}", numbers.astype(np.int8 if len(texts) <= 128 else np.int32))
        stored = np.array([text.encode() for text in texts], "S")
        own = f"{axis}_name{kinds[number] if kinds else None}"
        more = {"kind": "string", "nan_rep": "", "name": kind, own: kind}
        _write_array(group, f"{axis}_level{number}", stored, more)


def _write_array(group: Any, name: str, values: Array, more: Mapping[str, str | int] | None = None) -> None:
    array = group.create_dataset(name, data=values)
    _attributes(array, {"CLASS": "ARRAY", "FLAVOR": "numpy", "TITLE": "", "VERSION": "2.4", **(more or {})})
    array.attrs["transposed"] = np.uint8(1)


def _attributes(place: Any, values: Mapping[str, str | int]) -> None:
    """Set attributes as PyTables does: texts of a fixed length, which only an empty one has not."""
    h5py = import_h5py("writing HDF5")
    for name, value in values.items():
        if value == "":
            place.attrs[name] = h5py.Empty(h5py.string_dtype("utf-8", 1))
        elif isinstance(value, str) and value != _NONE:
            place.attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))
        else:
            place.attrs[name] = np.bytes_(value) if isinstance(value, str) else np.int64(value)
