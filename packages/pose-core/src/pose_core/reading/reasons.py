"""The texts of other libraries' errors, and of names in files, as a part of our messages."""

from __future__ import annotations

MAX_CHARACTERS = 150
"""Most characters of a quoted text: some libraries quote the damaged file."""


def quoted(error: Exception | str) -> str:
    """Return an error's first line, or a name, short and without control characters."""
    text = (str(error) or type(error).__name__).strip().partition("\n")[0]
    return (text if text.isprintable() else ascii(text)[1:-1])[:MAX_CHARACTERS]
