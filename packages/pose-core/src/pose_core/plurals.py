"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: float, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``2 images``, or with ``many``, ``2 people``."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {one if number == 1 else many or f'{one}s'}"
