"""Names of images in files that others made: relative, below their folder, and nothing but visible text."""

from __future__ import annotations

import os
import re

from pose_core.errors import DataError
from pose_core.reading.printable import shown

MAX_LENGTH = 4096
"""Characters of the longest name: the longest path of Linux."""

_ORDINARY = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")


def check_name(name: object, what: str, *, absolute_too: bool = False) -> str:
    """Return the name of an image; raise a DataError if it may lead out of its folder, or is no text to show.

    ``what`` describes the name at the start of the message. ``absolute_too`` accepts an absolute path.
    """
    if isinstance(name, str) and len(name) < MAX_LENGTH and _ORDINARY.fullmatch(name):
        return name
    fault = _fault(name, absolute_too)
    if fault:
        raise DataError(f"{what} {shown(name)} {fault}")
    return str(name)


def _fault(name: object, absolute_too: bool) -> str | None:
    if not isinstance(name, str):
        return "is not text"
    if not name.strip():
        return "is empty"
    if len(name) > MAX_LENGTH:
        return f"has {len(name)} characters, of at most {MAX_LENGTH}"
    if _HIDDEN.search(name):
        return "holds a character that cannot be shown; rename the file"
    is_absolute = name.startswith("/") or _DRIVE.match(name) is not None
    if is_absolute and absolute_too:
        name = name.replace(os.sep, "/")
    elif is_absolute:
        return "is an absolute path; names are relative to the folder of the images"
    if "\\" in name:
        return "holds a backslash; write / between folders"
    if ".." in name.split("/"):
        return "leads out of its folder ('..'); names are relative to the folder of the images"
    return None
