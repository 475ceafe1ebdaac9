"""Checks of single numbers in annotation files and results, shared by all readers."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

Array = np.ndarray

FAR = 1e6
"""Largest coordinate, and largest side of a box, in pixels: the largest photographs have sides of 1e5."""
LARGEST_ID = 2**63 - 1
"""Largest id of an image or an annotation, in both directions from zero."""
_EXACT = 2**53


def whole_number(value: object) -> int | None:
    """Return the integer that a value of a file is, or None: 7 and 7.0 are 7; True, "7" and 7.5 are none."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        number = int(value)
        return number if -LARGEST_ID <= number <= LARGEST_ID else None
    if isinstance(value, float | np.floating):
        real = float(value)
        return int(real) if abs(real) <= _EXACT and real.is_integer() else None
    return None


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of a file is a finite number; a bool is none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _EXACT
    return isinstance(value, float | np.integer | np.floating) and bool(np.isfinite(value))


def number_list(values: object, count: int | None = None, *, limit: float = FAR) -> Array | None:
    """Return a list of numbers within ``limit`` as ``(N,)`` float64; None if it is none, or not of ``count``."""
    if not isinstance(values, list | tuple) or (count is not None and len(values) != count):
        return None
    if not all(is_number(value) and abs(value) <= limit for value in values):
        return None
    return np.array(values, dtype=np.float64)


def number_rows(values: object, columns: int) -> Array | None:
    """Return rows of ``columns`` numbers within `FAR` as ``(N, columns)`` float64; None if they are none."""
    if not isinstance(values, list | tuple):
        return None
    rows = [number_list(value, columns) for value in values]
    found = [row for row in rows if row is not None]
    return np.array(found).reshape(-1, columns) if len(found) == len(rows) else None


def numeric(values: object) -> Array | None:
    """Return an array of a file of numbers as float64; None for text, objects and complex numbers."""
    array = np.asarray(values)
    return array.astype(np.float64) if array.dtype.kind in "biuf" else None


def within(values: Array, limit: float = FAR) -> bool:
    """Return whether all numbers are finite and within ``limit``."""
    return not values.size or bool(values.min() >= -limit and values.max() <= limit)  # both false for NaN
