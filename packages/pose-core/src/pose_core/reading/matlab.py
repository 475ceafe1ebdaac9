"""Variables of MATLAB's files, versions 4 and 5 (``save -v4``, ``-v6``, ``-v7``): numbers, text, cells and structs.

A parser of our own, since SciPy's crashes on damaged files and unpacks whatever they promise. Every offset, count and
depth is checked against the bytes there are; variables that are not asked for are skipped.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from types import SimpleNamespace
from typing import Any

import numpy as np

from pose_core.errors import DataError
from pose_core.plurals import size_text
from pose_core.reading.regular import read_regular

MAX_FILE = 1 << 30
"""Most bytes of a file; MPII's release has 20 MB."""
MAX_UNPACKED = 1 << 30
"""Most bytes of a variable after decompression."""
MAX_RATIO = 300
"""Most bytes that a compressed byte may become, in variables larger than `ALWAYS_ALLOWED`."""
ALWAYS_ALLOWED = 64 << 20
"""Bytes that a variable may have whatever its compression: zeros compress a thousandfold."""
MAX_DEPTH = 30
"""Most levels of cells and structs in each other."""

MAX_ELEMENTS = 10_000_000
"""Most elements of a variable's cells and fields of structs: MPII's release has four million."""

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types of stored numbers by MATLAB's code."""
_SCALARS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
_MATRIX, _COMPRESSED, _UTF8, _UTF16, _UTF32 = 14, 15, 16, 17, 18
_CELL, _STRUCT, _CHAR = 1, 2, 4
_REFUSED = {3: "an object", 5: "a sparse matrix", 16: "a function handle", 17: "an object"}
_OLD_NUMBERS = ("f8", "f4", "i4", "i2", "u2", "u1")
"""Types of version 4, by the third digit of a variable's type."""
_SINGLE = (_MATRIX, 6, 8, 5, 8, 1, 1, 1, 0)
"""Kinds and sizes of the parts of a single number without a name: flags, shape and name."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_MAX_DIMENSIONS = 16
_START = 4096
"""Bytes of a compressed variable that are unpacked to learn its name."""


class _Fault(Exception):
    """What is wrong in a file."""


def read_matlab(file: Path, variable: str, what: str, *, structs: bool = False) -> Any:
    """Return one variable of a ``.mat`` file; ``what`` describes the file in messages.

    Numbers and text are arrays of at least two axes, cells arrays of objects, and structs arrays of objects with
    attributes. With ``structs``, axes of length 1 are dropped everywhere, and what remains of one element is the
    element: a number, a text or an object with attributes.
    """
    found, others = _variables(file, {variable}, what, squeeze=structs)
    if variable not in found:
        raise DataError(f"{file} is not {what}: it has no variable {variable!r} (it has {_listed(others)})")
    return found[variable]


def read_fields(file: Path, names: Iterable[str], what: str) -> dict[str, np.ndarray]:
    """Return several variables of numbers as `read_matlab` does; ``what`` describes the file in messages."""
    wanted = list(names)
    found, others = _variables(file, set(wanted), what, squeeze=False)
    for name in wanted:
        if name not in found:
            raise DataError(f"{file} is not {what}: it has no field {name!r} (it has {_listed([*found, *others])})")
        if found[name].dtype.kind not in "biuf":
            raise DataError(f"{file} is not {what}: the field {name!r} is not of numbers")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "") or "nothing"


def _variables(file: Path, wanted: set[str], what: str, *, squeeze: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the wanted variables, and the names of the others."""
    content = read_regular(file, "annotation file", limit=MAX_FILE)
    try:
        if content.startswith(b"MATLAB 7.3") or content[512:520] == b"\x89HDF\r\n\x1a\n":
            raise _Fault("it is of MATLAB 7.3: load it in MATLAB, and save it with the option -v7")
        if content[:4] and 0 in content[:4]:
            return _version_4(content, wanted, squeeze=squeeze)
        return _version_5(content, wanted, squeeze=squeeze)
    except (_Fault, zlib.error) as fault:
        raise DataError(f"{file} is not {what}: {fault}") from None
    except MemoryError:
        raise DataError(f"{file} is not {what}: it needs more memory than there is") from None


def _version_5(content: bytes, wanted: set[str], *, squeeze: bool) -> tuple[dict[str, Any], list[str]]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or len(content) < 128 or content[125 if order == "<" else 124] != 1:
        raise _Fault("it does not begin as a MATLAB file does")
    found: dict[str, Any] = {}
    others: list[str] = []
    outer = _Parser(content, order, squeeze)
    at = 128
    while at < len(content):
        kind, size, start, at = outer.tag(at, len(content), padded=False)
        if kind == _COMPRESSED:
            inner = _Parser(_unpacked(content, start, size, _START), order, squeeze)
            kind, whole, begin, _ = inner.tag(0, 1 << 62)
            name = inner.name(begin) if kind == _MATRIX else ""
            if name in wanted:
                inner = _Parser(_unpacked(content, start, size, whole + begin, whole=True), order, squeeze)
                found[name] = inner.matrix(begin, begin + whole, 0)
        elif kind == _MATRIX:
            name = outer.name(start)
            if name in wanted:
                found[name] = outer.matrix(start, start + size, 0)
        else:
            raise _Fault(f"it has a part of the unknown kind {kind}")
        if name not in wanted:
            others.append(name)
    return found, others


def _unpacked(content: bytes, start: int, size: int, most: int, *, whole: bool = False) -> bytes:
    """Return the first ``most`` bytes of what is compressed; ``whole``, these are all, and their checksum is right."""
    allowed = min(MAX_UNPACKED, max(ALWAYS_ALLOWED, MAX_RATIO * size))
    if most > allowed:
        raise _Fault(f"a variable unpacks to {size_text(most)} from {size_text(size)}, of at most {size_text(allowed)}")
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(memoryview(content)[start : start + size], most + 16 * whole)
    if whole and (len(unpacked) < most or not unpacker.eof):
        raise _Fault("a compressed variable is cut off, or longer than it says")
    return unpacked


class _Parser:
    """Values in the bytes of a file of version 5. ``end`` is always where the enclosing part ends."""

    def __init__(self, data: bytes, order: str, squeeze: bool) -> None:
        self.data, self.order, self.squeeze = data, order, squeeze
        self.left = MAX_ELEMENTS
        self.nothing = np.zeros(0) if squeeze else np.zeros((0, 0))
        self.two = Struct(f"{order}2I")
        self.single = Struct(f"{order}5I4x8I")
        self.types = {code: np.dtype(order + name) for code, name in _NUMBERS.items()}
        self.scalars = {code: Struct(order + letter) for code, letter in _SCALARS.items()}

    def tag(self, at: int, end: int, *, padded: bool = True) -> tuple[int, int, int, int]:
        """Return the kind and size of a part, where its content starts, and where the next part begins."""
        if at + 8 > min(end, len(self.data)):
            raise _Fault("it is cut off, or a part is longer than what holds it")
        kind, size = self.two.unpack_from(self.data, at)
        if kind >> 16:  # up to four bytes, in the place of the size
            if kind >> 16 > 4:
                raise _Fault("a small part is too long")
            return kind & 0xFFFF, kind >> 16, at + 4, at + 8
        following = at + 8 + size
        if following > end:
            raise _Fault("it is cut off, or a part is longer than what holds it")
        # Compressed parts are not padded to eight bytes, and the last padding may be missing.
        return kind, size, at + 8, min(following + (-size % 8 if padded or kind != _COMPRESSED else 0), end)

    def head(self, at: int, end: int) -> tuple[int, int, tuple[int, ...], str, int]:
        """Return an array's class, its flags, its shape, its name, and where its content begins."""
        kind, size, start, at = self.tag(at, end)
        if kind != 6 or size != 8:
            raise _Fault("an array does not begin with its flags")
        (flags,) = Struct(f"{self.order}I").unpack_from(self.data, start)
        if flags & 0xFF == 17:  # an opaque object has no shape
            return 17, flags, (), "", at
        kind, size, start, at = self.tag(at, end)
        if kind != 5 or size % 4 or not 8 <= size <= 4 * _MAX_DIMENSIONS:
            raise _Fault("an array has no shape")
        shape = tuple(np.frombuffer(self.data, f"{self.order}i4", size // 4, start).tolist())
        if min(shape) < 0:
            raise _Fault(f"an array has the shape {shape}")
        kind, size, start, at = self.tag(at, end)
        if kind not in {1, _UTF8} or size > 64:
            raise _Fault("an array has no name")
        return flags & 0xFF, flags, shape, self.data[start : start + size].decode("latin-1").rstrip("\0"), at

    def name(self, at: int) -> str:
        """Return an array's name."""
        name = self.head(at, min(len(self.data), at + _START))[3]
        return name if _NAME.fullmatch(name) else ascii(name)[1:-1]

    def matrix(self, at: int, end: int, depth: int) -> Any:
        """Return the value of an array."""
        if depth > MAX_DEPTH:
            raise _Fault(f"its cells and structs are more than {MAX_DEPTH} deep")
        if at == end:
            return self.nothing
        kind, flags, shape, name, at = self.head(at, end)
        if kind in _REFUSED:
            raise _Fault(f"{f'{name!a} is' if name else 'it holds'} {_REFUSED[kind]}; save plain arrays")
        if kind == _CELL:
            return self.cells(shape, at, end, depth)
        if kind == _STRUCT:
            return self.structs(shape, at, end, depth)
        if kind == _CHAR:
            return self.text(shape, at, end)
        if not 6 <= kind <= 15:
            raise _Fault(f"it has an array of the unknown class {kind}")
        if flags & 0x800:
            raise _Fault("it has complex numbers")
        stored, size, start, _ = self.tag(at, end)
        if stored not in self.types:
            raise _Fault(f"it has numbers of the unknown type {stored}")
        dtype = self.types[stored]
        count = math.prod(shape)
        if count * dtype.itemsize != size:
            raise _Fault(f"an array of shape {shape} and type {dtype.name} has {size} bytes")
        if count == 1 and self.squeeze:
            return self.scalars[stored].unpack_from(self.data, start)[0]
        array = np.frombuffer(self.data, dtype, count, start).reshape(shape, order="F")
        return self.squeezed(array.astype(dtype.newbyteorder("="), order="F"))

    def squeezed(self, array: np.ndarray) -> Any:
        """Return an array without axes of length 1 where this is asked for, and a single element by itself."""
        if not self.squeeze:
            return array
        if not array.size:
            return np.zeros(0, array.dtype)
        found = array.squeeze()
        return found.item() if not found.ndim else found

    def take(self, count: int) -> None:
        """Count elements, each of which takes memory beyond its bytes."""
        self.left -= count
        if self.left < 0:
            raise _Fault(f"its cells and structs have more than {MAX_ELEMENTS} elements")

    def cells(self, shape: tuple[int, ...], at: int, end: int, depth: int) -> Any:
        count = math.prod(shape)
        if count * 8 > end - at:
            raise _Fault(f"a cell array of shape {shape} has too few bytes")
        self.take(count)
        values = np.empty(count, object)
        for index in range(count):
            values[index], at = self.element(at, end, depth)
        return self.squeezed(values.reshape(shape, order="F"))

    def element(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        """Return the value of a cell or field, and where the next begins."""
        if self.squeeze and at + 64 <= end:
            # Almost all are single numbers, whose parts are in fixed places.
            first, size, *middle, one, none, stored, length = self.single.unpack_from(self.data, at)
            flags = middle.pop(2)
            if (first, *middle, one, none) == _SINGLE and size in {48, 56} and 6 <= flags & 0xFF <= 15:
                small = stored >> 16
                number = self.scalars.get(stored & 0xFFFF)
                right = (size == 48) == bool(small) and not flags & 0x800
                if right and number is not None and number.size == (small or length):
                    return number.unpack_from(self.data, at + (52 if small else 56))[0], at + 8 + size
        kind, size, start, following = self.tag(at, end)
        if kind != _MATRIX:
            raise _Fault(f"a cell or field is of the unknown kind {kind}")
        return self.matrix(start, start + size, depth + 1), following

    def structs(self, shape: tuple[int, ...], at: int, end: int, depth: int) -> Any:
        kind, size, start, at = self.tag(at, end)
        if kind != 5 or size != 4:
            raise _Fault("a struct has no names of fields")
        (width,) = Struct(f"{self.order}i").unpack_from(self.data, start)
        kind, size, start, at = self.tag(at, end)
        if kind != 1 or not 0 < width <= 64 or size % width:
            raise _Fault("a struct has no names of fields")
        raw = self.data[start : start + size]
        names = [raw[n : n + width].partition(b"\0")[0].decode("latin-1") for n in range(0, size, width)]
        wrong = [name for name in names if not _NAME.fullmatch(name)]
        if wrong or len(set(names)) < len(names):
            raise _Fault(f"a struct has the field {wrong[0]!a}" if wrong else "a struct has a field twice")
        count = math.prod(shape)
        if count * max(len(names), 1) * 8 > end - at + 8:
            raise _Fault(f"a struct array of shape {shape} has too few bytes")
        self.take(count * max(len(names), 1))
        values = np.empty(count, object)
        for index in range(count):
            fields = {}
            for name in names:
                fields[name], at = self.element(at, end, depth)
            values[index] = SimpleNamespace(**fields)
        return self.squeezed(values.reshape(shape, order="F"))

    def text(self, shape: tuple[int, ...], at: int, end: int) -> Any:
        kind, size, start, _ = self.tag(at, end)
        codec = {_UTF8: "utf-8", _UTF16: "utf-16", _UTF32: "utf-32", 1: "latin-1", 2: "latin-1", 4: "utf-16"}.get(kind)
        if codec is None:
            raise _Fault(f"it has text of the unknown type {kind}")
        if codec in {"utf-16", "utf-32"}:
            codec += "-le" if self.order == "<" else "-be"
        return self.squeezed(_characters(self.data[start : start + size].decode(codec, "replace"), shape))


def _characters(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return text as an array of strings; the last axis of ``shape`` is their characters."""
    count = math.prod(shape)
    if not count:
        return np.zeros(0, "U1")
    if len(text) != count:
        if count != shape[-1]:
            raise _Fault(f"a text of shape {shape} has {len(text)} characters")
        return np.array([text]).reshape((1,) * (len(shape) - 1))
    if count == shape[-1]:
        return np.array(text).reshape((1,) * (len(shape) - 1))
    letters = np.frombuffer(text.encode("utf-32-le"), "<U1").reshape(shape, order="F")
    return np.ascontiguousarray(letters).view(f"<U{shape[-1]}")[..., 0]


def _version_4(content: bytes, wanted: set[str], *, squeeze: bool) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    others: list[str] = []
    at = 0
    while at < len(content):
        if at + 20 > len(content):
            raise _Fault("it is cut off")
        order = "<" if int.from_bytes(content[at : at + 4], "little") < 5000 else ">"
        kind, rows, columns, imaginary, length = Struct(f"{order}5i").unpack_from(content, at)
        machine, zero, numbers, form = kind // 1000, kind // 100 % 10, kind // 10 % 10, kind % 10
        if machine != (order == ">") or zero or numbers >= len(_OLD_NUMBERS) or form > 2 or not 0 < length <= 64:
            raise _Fault("it does not begin as a MATLAB file does")
        if rows < 0 or columns < 0:
            raise _Fault(f"an array has the shape {(rows, columns)}")
        dtype = np.dtype(order + _OLD_NUMBERS[numbers])
        start = at + 20 + length
        at = start + rows * columns * dtype.itemsize * (2 if imaginary else 1)
        if at > len(content):
            raise _Fault("it is cut off, or an array is longer than the file")
        name = content[start - length : start].partition(b"\0")[0].decode("latin-1")
        if name not in wanted:
            others.append(name if _NAME.fullmatch(name) else ascii(name)[1:-1])
            continue
        if imaginary or form == 2:
            raise _Fault(f"{name!a} is {'complex' if imaginary else 'a sparse matrix'}; save plain arrays")
        array = np.frombuffer(content, dtype, rows * columns, start).reshape((rows, columns), order="F")
        array = array.astype(dtype.newbyteorder("="), order="F")
        if form == 1:
            if not ((array >= 0) & (array < 0x110000)).all():
                raise _Fault(f"{name!a} is not text")
            array = _characters("".join(map(chr, array.ravel("F").astype(int).tolist())), (rows, columns))
        parser = _Parser(b"", order, squeeze)
        found[name] = parser.squeezed(array)
    return found, others
