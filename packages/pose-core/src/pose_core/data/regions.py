"""COCO segmentations: polygons, or run lengths as numbers or packed into text.

pycocotools draws them in C, and writes beyond its memory for packed text that is damaged: what is not sound must not
reach it.
"""

from __future__ import annotations

import math

from pose_core.data.numbers import FAR

LONGEST_OUTLINE = 1e8
"""Bound of a polygon's length in pixels: 4000 corners on a picture of 25000 pixels; its drawing takes memory for it."""
LARGEST_MASK = 400_000_000
"""Most pixels of a mask that is given as run lengths: twice those of the largest panoramas."""
_NUMBERS = frozenset({int, float})
_LONGEST_COUNT = 7
"""Most characters of a packed count, of five bits each: pycocotools keeps counts in 32 bits."""


def is_region(region: object) -> bool:
    """Return whether a value is a COCO segmentation that its library can draw without running out of memory."""
    if isinstance(region, list):
        return all(
            isinstance(polygon, list)
            and len(polygon) >= 4
            and len(polygon) % 2 == 0
            and _NUMBERS.issuperset(map(type, polygon))
            and -FAR <= min(polygon) <= max(polygon) <= FAR
            and not math.isnan(sum(polygon))
            and len(polygon) * (max(polygon) - min(polygon)) <= LONGEST_OUTLINE
            for polygon in region
        )
    if not isinstance(region, dict):
        return False
    size, counts = region.get("size"), region.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and 0 < side <= FAR for side in size):
        return False
    pixels = size[0] * size[1]
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list) or not all(type(count) is int and 0 <= count <= pixels for count in counts):
        return False
    return sum(counts) <= pixels <= LARGEST_MASK


def _unpacked(text: str) -> list[int] | None:
    """Return the run lengths that are packed into a text, or None if the text is damaged.

    A count is in groups of five bits, the lowest first, each a character from "0" on; a further bit says that another
    group follows, and the highest bit of the last is the sign. From the fourth on, a count is the difference from the
    one two before.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift >= 5 * _LONGEST_COUNT:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts
