"""Long lists of decimal numbers in JSON text, parsed many at a time: a hundred thousand poses are five million numbers.

A number is its digits as an integer, divided by a power of ten. Both are exact in the extended precision of x86, so
the quotient is the nearest one but where it lies between two of double precision: such numbers, and long or unusual
ones, are parsed by Python.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

Array = np.ndarray

WIDTH = 24
"""Characters of a number that are looked at: three words."""
LONGEST = 19
"""Characters after the sign from which Python parses a number: more may not fit into 64 bits."""
_TEN = 10 ** np.arange(20, dtype=np.uint64)
_STEPS = (
    (np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(2561), np.uint64(8)),
    (np.uint64(0x00FF00FF00FF00FF), np.uint64(6553601), np.uint64(16)),
    (np.uint64(0x0000FFFF0000FFFF), np.uint64(42949672960001), np.uint64(32)),
)
"""Masks, factors and shifts that join digits to pairs, pairs to fours, and fours to eights, in a word."""
_DOT = np.uint8(ord(".") - ord("0") & 0xFF)
_BYTES = np.arange(WIDTH)
_LAST = np.where(WIDTH - np.arange(WIDTH + 1)[:, None] <= _BYTES, 0xFF, 0).astype(np.uint8).view("<u8")
"""Masks of the last 0, 1, … characters, in words."""
_ALL_BUT = np.where(_BYTES[:, None] == _BYTES, 0, 0xFF).astype(np.uint8).view("<u8")
_EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
_OVER_NINE, _HIGH_BITS = np.uint64(0x7676767676767676), np.uint64(0x8080808080808080)
"""Added to a byte of at least 10, 0x76 sets its high bit."""
_EXTENDED = np.finfo(np.longdouble).nmant == 63
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def decode_entries(text: str, key: str) -> list[Any] | None:
    """Return the objects in ``text``, separated by commas, with the list under ``key`` as a float64 array.

    None unless every object has such a list, of numbers only, and is otherwise as JSON has it.
    """
    content, name = text.encode(), b'"%s":' % key.encode()
    # A null stands for the list below.
    if name not in content or b"null" in content or not text.isascii():
        return None
    # Unescaped, the name is a key: a text that contains it has backslashes before the quotation marks.
    opening = name + b" [" if name + b" [" in content else name + b"["
    between, lists, end = [], [], 0
    while (found := content.find(opening, end)) >= 0:
        start = found + len(opening)
        between.append(content[end:found])
        end = content.find(b"]", start)
        if end < 0:
            return None
        lists.append(content[start:end])
        end += 1
    between.append(content[end:])
    try:
        entries: list[Any] = json.loads(b"[%s]" % (name + b"null").join(between))
    except (ValueError, RecursionError):
        return None
    if len(entries) != len(lists) or any(type(e) is not dict or e.get(key, 0) is not None for e in entries):
        return None
    numbers = parse_numbers(b",".join(lists))
    if numbers is None:
        return None
    ends = np.cumsum([each.count(b",") + 1 for each in lists]).tolist()
    for entry, start, end in zip(entries, [0, *ends], ends, strict=False):
        entry[key] = numbers[start:end]
    return entries


def parse_numbers(text: bytes) -> Array | None:
    """Return the numbers of a text, as Python parses them; None if one is none.

    They are separated by commas, and there may be a space after each.
    """
    padded = np.frombuffer(b"0" * WIDTH + text, np.uint8)
    commas = np.flatnonzero(padded == ord(","))
    ends, starts = np.append(commas, len(padded)), np.append(WIDTH, commas + 1)
    starts += padded.take(starts, mode="clip") == ord(" ")
    is_negative = padded.take(starts, mode="clip") == ord("-")
    first = starts + is_negative
    length = ends - first
    # A row for each number, which ends with it; what is before is zero, as a digit.
    rows = np.lib.stride_tricks.sliding_window_view(padded, WIDTH)[ends - WIDTH] - np.uint8(ord("0"))
    words = rows.view("<u8")
    words &= _LAST.take(length, 0, mode="clip")
    dot = (rows == _DOT).argmax(1)
    has_dot = rows.reshape(-1).take(np.arange(0, rows.size, WIDTH) + dot) == _DOT
    words &= np.where(has_dot[:, None], _ALL_BUT.take(dot, 0), _EVERY)
    decimals = (WIDTH - 1 - dot) * has_dot
    high = ((words + _OVER_NINE) | words) & _HIGH_BITS
    is_plain = (high[:, 0] | high[:, 1] | high[:, 2]) == 0
    is_plain &= (length >= 1) & (length <= LONGEST)
    is_plain &= ~has_dot | ((decimals >= 1) & (decimals <= length - 2))
    # Without a dot right after it, a leading zero is alone.
    is_plain &= (padded.take(first, mode="clip") != ord("0")) | (length == np.where(has_dot, decimals + 2, 1))
    for mask, factor, shift in _STEPS:
        words &= mask
        words *= factor
        words >>= shift
    whole = words[:, 0] * _TEN[16] + words[:, 1] * _TEN[8] + words[:, 2]
    power = _TEN.take(decimals, mode="clip")
    after = whole % power
    # The dot's own place is empty.
    whole = np.where(has_dot, (whole - after) // _TEN[1] + after, whole)
    values, is_exact = _divided(whole, power)
    np.negative(values, out=values, where=is_negative)
    for row in np.flatnonzero(~(is_plain & is_exact)).tolist():
        number = text[starts[row] - WIDTH : ends[row] - WIDTH]
        if not _NUMBER.fullmatch(number):
            return None
        values[row] = float(number)
    return values


def _divided(whole: Array, power: Array) -> tuple[Array, Array]:
    """Return quotients of integers below 2⁶⁴ and powers of ten as float64, and which are surely the nearest."""
    if not _EXTENDED:
        return whole / power, whole <= 2**53
    quotient = whole.astype(np.longdouble) / power.astype(np.longdouble)
    mantissa = quotient.view(np.uint64)[::2] if quotient.itemsize == 16 else None
    if mantissa is None:
        return whole / power, whole <= 2**53
    return quotient.astype(np.float64), mantissa & np.uint64(0x7FF) != np.uint64(0x400)
