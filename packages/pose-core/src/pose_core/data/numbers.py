"""Checks of single numbers in annotation files and results, shared by all readers."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

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


def shown(value: object) -> str:
    """Return a value of a file for a message, short and in one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or very deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."
