"""Numbers with their nouns and units."""

from __future__ import annotations


def counted(number: float, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 image``, ``2 images``, or with ``many``, ``2 people``."""
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {one if number == 1 else many or f'{one}s'}"


def size_text(size: float) -> str:
    """Return a file size for people: ``114 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.1f} {unit}" if size < 10 and unit != "bytes" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
