"""HDF5 annotation files with one row per person, the format of the stacked hourglass code for MPII and LSP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pose_core.errors import DataError
from pose_core.reading.hdf5 import import_h5py as import_h5py
from pose_core.reading.hdf5 import read_columns
from pose_core.skeleton import Skeleton

Array = np.ndarray


class PeopleColumns(NamedTuple):
    """The people of a file, one row each."""

    names: list[str]
    """The name of each person's image."""
    parts: Array
    """``(N, K, 2)`` float64; a joint counts as labeled where its x is positive."""
    centers: Array
    """``(N, 2)`` float64."""
    scales: Array
    """``(N,)`` float64, in units of 200 pixels."""
    extra: dict[str, Array]
    """The additional columns requested, each ``(N,)``."""


def read_people(file: Path, what: str, skeleton: Skeleton, extra: Sequence[str] = ()) -> PeopleColumns:
    """Read the fields imgname, part, center and scale of ``file``, and the ``extra`` fields.

    ``what`` describes the expected file in error messages. Names are byte strings ``(N,)``, or character codes
    ``(N, L)`` that end at the first zero.
    """
    keys = ("imgname", "part", "center", "scale", *extra)
    columns = read_columns(file, keys, what)
    people = len(columns["imgname"]) if columns["imgname"].ndim else 0
    joints = skeleton.num_joints
    parts = columns["part"]
    if parts.ndim == 3 and parts.shape[::2] == (people, 2) and parts.shape[1] != joints:
        raise DataError(
            f"{file}: 'part' has the shape {parts.shape}, but skeleton {skeleton.name!r} has {joints} joints; "
            "set data.skeleton to the joint set of this file"
        )
    shapes: dict[str, tuple[int, ...]] = {"part": (people, joints, 2), "center": (people, 2)}
    for key in keys[1:]:
        shape = shapes.get(key, (people,))
        # One number per person may be stored as a row or as a column.
        if columns[key].shape != shape and (len(shape) > 1 or columns[key].shape != (people, 1)):
            raise DataError(f"{file}: {key!r} has the shape {columns[key].shape}, expected {shape}: {people} people")
        columns[key] = _numbers(columns[key], key, file).reshape(shape)
    return PeopleColumns(
        _names(columns["imgname"], file),
        columns["part"],
        columns["center"],
        columns["scale"],
        {key: columns[key] for key in extra},
    )


def encode_names(names: Iterable[str]) -> Array:
    """Return names as character codes ``(N, L)`` uint8, padded with zeros."""
    coded = [name.encode() for name in names]
    width = max(map(len, coded), default=0) + 1  # the longest name ends with a zero, too
    return np.frombuffer(b"".join(name.ljust(width, b"\0") for name in coded), np.uint8).reshape(len(coded), width)


def _numbers(column: Array, key: str, file: Path) -> Array:
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{file}: {key!r} must be numbers, but is of the type {column.dtype}") from None


def _names(column: Array, file: Path) -> list[str]:
    try:
        if column.ndim == 1 and column.dtype.kind in "SO":
            raw: list[Any] = column.tolist()
        elif column.ndim == 2 and column.dtype.kind in "uif":
            raw = [row.tobytes() for row in column.astype(np.uint8)]
        else:
            raise DataError(
                f"{file}: 'imgname' has the shape {column.shape} and the type {column.dtype}; expected strings (N,) "
                "or character codes (N, L)"
            )
        return [(name if isinstance(name, str) else bytes(name).partition(b"\0")[0].decode()) for name in raw]
    except (UnicodeDecodeError, TypeError) as error:
        raise DataError(f"{file}: 'imgname' is not UTF-8 text: {error}") from None
