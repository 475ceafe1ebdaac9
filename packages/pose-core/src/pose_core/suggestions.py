"""What a mistyped name may have meant."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 100
"""Characters of a name that are compared: names come from files of others, and comparing takes quadratic time."""


def similar(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to ``count`` of the known names that are similar to ``name``, the most similar first.

    ``cutoff`` is the least similarity, from 0 to 1.
    """
    from difflib import get_close_matches

    return get_close_matches(name[:LONGEST], list(known), n=count, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> str:
    """Return "; did you mean …?" with the names that are `similar` to ``name``, or "" if none is."""
    near = similar(name, known, count, cutoff)
    return f"; did you mean {' or '.join(near)}?" if near else ""
