"""Text from outside as it may be shown: control characters of a name do not reach the terminal.

This module imports nothing of the package.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import Repr
from typing import TextIO, cast

_WORD = 600
"""Characters of a word that are shown; a longer one loses its middle."""
_LONG = re.compile(rf"\S{{{_WORD + 1},}}")

_BAR = re.compile("(\r|\x1b\\[A)")
"""What moves the cursor to the start of the line, and to the line above: progress bars do."""


def printable(text: str) -> str:
    r"""Return a text with visible escapes, ``\x1b``, of all that Python does not count as printable.

    These are control characters, those that turn the direction of writing, and bytes that were no text. Line feeds and
    tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else _escaped(each) for each in text)


def printable_message(text: str) -> str:
    """Return a message as `printable` does, with words of enormous length cut in their middle."""
    return _LONG.sub(lambda word: f"{word[0][: _WORD // 2]}…{word[0][-_WORD // 4 :]}", printable(text))


def shown(value: object, most: int = 100) -> str:
    """Return a value for a message, in one line: its ``repr``, cut to ``most`` characters, however large it is."""
    brief = Repr()
    brief.maxlevel, brief.maxlist, brief.maxtuple, brief.maxdict = 5, 20, 20, 20
    brief.maxstring = brief.maxlong = brief.maxother = most
    try:
        return shortened(brief.repr(value), most)
    except ValueError:  # an integer of thousands of digits
        return f"a value of type {type(value).__name__} that is too long to show"


@contextmanager
def printable_output() -> Iterator[None]:
    """Print within the block only what `printable` returns, and what moves the cursor of a progress bar."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _PrintableStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _PrintableStream:
    """A text stream that writes what `printable` returns to another one, and is that one in all else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write("".join(each if _BAR.fullmatch(each) else printable(each) for each in _BAR.split(text)))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def shortened(text: str, most: int = 200) -> str:
    """Return a text cut to ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
