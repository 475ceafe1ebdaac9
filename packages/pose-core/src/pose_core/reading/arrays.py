"""Arrays of numbers in NumPy's formats, ``.npy`` and ``.npz``: a header is checked before memory is taken for it."""

from __future__ import annotations

import ast
import io
import math
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from pose_core.errors import DataError
from pose_core.plurals import size_text
from pose_core.reading.archives import open_zip, read_member
from pose_core.reading.reasons import quoted
from pose_core.reading.regular import open_regular

Array = np.ndarray

MAX_ARRAY_BYTES = 4 << 30
"""Most bytes of an array: those of ten million people of 17 joints are 3 GB."""
_TYPES = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[US]\d{1,4})")
"""Types of arrays that are read: truth values, numbers, and text of fixed length."""
_MAX_HEADER = 10_000
_MAX_DIMENSIONS = 8


def read_npz(source: Path | bytes, what: str, names: Sequence[str]) -> dict[str, Array]:
    """Return the arrays ``names`` of an ``.npz`` file or its bytes; ``what`` describes it in messages."""
    opened: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, what)
    where = what if isinstance(source, bytes) else f"{what} {source}"
    with opened, open_zip(opened, where) as archive:
        stored = set(archive.namelist())
        lacking = [name for name in names if f"{name}.npy" not in stored]
        if lacking:
            have = ", ".join(map(quoted, sorted(stored)[:8])) or "nothing"
            raise DataError(f"{where} has no array {lacking[0]!r} (it has {have})")
        found = {}
        for name in names:
            content = read_member(archive, f"{name}.npy", f"{where}, {name!r},", MAX_ARRAY_BYTES, "make it again")
            place = f"{where}, {name!r},"
            dtype, shape, fortran, start = _header(io.BytesIO(content[: _MAX_HEADER + 16]), len(content), place)
            array = np.frombuffer(content, dtype, math.prod(shape), start) if math.prod(shape) else np.empty(0, dtype)
            found[name] = array.reshape(shape, order="F" if fortran else "C").copy()
        return found


def read_npy(path: Path, what: str, *, mapped: bool = False) -> Array:
    """Return the array of an ``.npy`` file; ``mapped``, its pages are read when used and cannot be written."""
    with open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        where = f"{what} {path}"
        dtype, shape, fortran, start = _header(file, size, where)
        order: Literal["C", "F"] = "F" if fortran else "C"
        count = math.prod(shape)
        try:
            if mapped and count:
                return np.memmap(file, dtype, "r", start, shape, order)
            file.seek(start)
            return np.frombuffer(file.read(dtype.itemsize * count), dtype).reshape(shape, order=order).copy()
        except (OSError, ValueError, MemoryError) as error:
            raise DataError(f"{where} cannot be read: {quoted(error)}") from None


def _header(file: BinaryIO, size: int, where: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Return type, shape, whether columns are contiguous, and where the numbers of an array of ``size`` bytes begin."""
    start = file.read(8)
    width = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}.get(start, 0)
    if not width:
        raise DataError(f"{where} is not an array of NumPy: its beginning is another's")
    length = int.from_bytes(file.read(width), "little")
    begin = 8 + width + length
    if length > _MAX_HEADER or begin > size:
        raise DataError(f"{where} is damaged: its header is longer than the file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on Python's syntax in damaged text
            header = ast.literal_eval(file.read(length).decode("latin-1").strip())
        code, shape, fortran = header["descr"], header["shape"], header["fortran_order"]
        whole = all(type(side) is int and 0 <= side < 1 << 40 for side in shape) and len(shape) <= _MAX_DIMENSIONS
        if type(shape) is not tuple or type(fortran) is not bool or not whole:
            raise ValueError
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise DataError(f"{where} is damaged: its header is not the description of an array") from None
    if not isinstance(code, str) or not _TYPES.fullmatch(code):
        raise DataError(f"{where} holds {ascii(code)[:40]}; expected numbers or text (objects could run code)")
    dtype = np.dtype(code)
    needed = dtype.itemsize * math.prod(shape)
    if needed > MAX_ARRAY_BYTES:
        raise DataError(f"{where} is too large: {size_text(needed)}, of at most {size_text(MAX_ARRAY_BYTES)}")
    if needed != size - begin:
        raise DataError(
            f"{where} is damaged: an array {shape!s:.100} of {code} has {needed} bytes, but there are {size - begin}"
        )
    return dtype, shape, fortran, begin
