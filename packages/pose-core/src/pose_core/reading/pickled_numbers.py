"""Numbers and arrays of NumPy in pickles, without NumPy's own classes, which crash on damaged or malicious state.

The names in a pickle are replaced by the stand-ins below. They check a type's code, a shape and the number of bytes
before they make an array of them; nothing else of NumPy is reached, and no code runs.
"""

from __future__ import annotations

import math
import pickle
import re
from typing import IO, Any

import numpy as np

Array = np.ndarray

_CODES = re.compile(r"b1|[iu][1248]|f[248]")
_MAX_DIMENSIONS = 8
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")


class NumberType:
    """A stand-in for ``numpy.dtype``."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = str(state[1])

    def checked(self) -> np.dtype:
        """Return the type of numbers; raise a ValueError if it is another type."""
        if not isinstance(self.code, str) or not _CODES.fullmatch(self.code) or self.order not in {*"=|<>"}:
            raise ValueError(f"unsupported NumPy number of type {self.code!r:.60}")
        return np.dtype(self.order + self.code)


def number(kind: NumberType, data: bytes | str) -> float:
    """Return a number of NumPy as one of Python: a stand-in for ``numpy.core.multiarray.scalar``."""
    dtype, content = kind.checked(), _bytes(data)
    if len(content) != dtype.itemsize:
        raise ValueError(f"a number of {len(content)} bytes in place of {dtype.itemsize}")
    value: float = np.frombuffer(content, dtype, 1)[0].item()
    return value


class PickledArray:
    """A stand-in for ``numpy.ndarray``."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def checked(self) -> Array:
        """Return the array; raise a ValueError if its state is not one."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("an array without content")
        _, shape, kind, fortran, data = self.state
        if not isinstance(kind, NumberType):
            raise ValueError("an array without a type")
        dtype, content = kind.checked(), _bytes(data)
        if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS or any(type(n) is not int for n in shape):
            raise ValueError("an array whose shape is not one")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError(f"an array of shape {shape!r:.60} and type {dtype} in {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: bytes, kind: NumberType, shape: tuple[int, ...], order: str, *_: object) -> PickledArray:
    """Return an array of the fifth protocol: a stand-in for ``numpy.core.numeric._frombuffer``."""
    made = PickledArray()
    made.state = (1, shape, kind, order == "F", data)
    return made


def _bytes(data: object) -> bytes:
    # Python 2 has text for bytes, which the unpickler decodes as Latin-1.
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError("numbers without bytes")
    return bytes(data)


def _encode(text: str, _: str) -> bytes:
    """Return bytes that an old protocol has as text: a stand-in for ``_codecs.encode``."""
    return text.encode("latin-1")


STAND_INS: dict[str, object] = {
    "numpy.dtype": NumberType,
    "numpy.ndarray": PickledArray,
    "_codecs.encode": _encode,
    **{f"{module}._reconstruct": PickledArray for module in _MODULES},
    **{f"{module}.scalar": number for module in _MODULES},
    **{f"{module}._frombuffer": _from_buffer for module in _MODULES},
}
"""What stands for the names that a pickle of arrays and numbers refers to, in old and new NumPy."""


class NumbersOnly(pickle.Unpickler):
    """An unpickler for arrays, numbers, lists and strings only: any other name in a file could run code.

    Memory and time are the caller's to bound: run it in a process with limits.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin-1")

    def find_class(self, module: str, name: str) -> Any:
        found = STAND_INS.get(f"{module}.{name}")
        if found is None:
            raise pickle.UnpicklingError(f"it names {f'{module}.{name}'!a:.100}, and contains more than numbers")
        return found
