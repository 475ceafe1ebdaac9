"""The folders of data sets and caches, ``POSE_DATA`` and ``POSE_HOME``, and names that files may give to folders."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PureWindowsPath

LONGEST_NAME = 200
"""Bytes of a folder's name: file systems allow 255, and a suffix such as ``.old-1`` must fit, too."""
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?")
"""Names that are devices on Windows, with any ending."""


def find_data_root(root: str) -> Path:
    """Return a data folder as given, or below POSE_DATA if it is relative and not in the current directory."""
    path = Path(root).expanduser()
    base = os.environ.get("POSE_DATA")
    if not path.is_absolute() and not path.exists() and base:
        below = Path(base).expanduser()
        for candidate in (below / path, below / path.name):
            if candidate.exists():
                return candidate
        return below / path
    return path


def own_root(annotations: Path) -> Path:
    """Return the data folder of an annotation file of one's own: the folder it is in, or that of ``annotations/``."""
    folder = annotations.parent
    return folder.parent if annotations.absolute().parent.name == "annotations" else folder


def cache_home() -> Path:
    """Return the folder of caches: POSE_HOME, or ``~/.cache/pose``."""
    home = os.environ.get("POSE_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "pose"


def make_cache(*parts: str) -> Path:
    """Return a folder below `cache_home`, made if needed; the folder of caches is the owner's alone when it is made."""
    home = cache_home()
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
    folder = home.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_folder_name(name: str) -> str:
    """Return the name of a folder if it is one plain part of a path on every system; raise ValueError otherwise."""
    if not name or name in {".", ".."}:
        raise ValueError("must be the name of a folder")
    if "/" in name or "\\" in name or PureWindowsPath(name).drive:
        raise ValueError("must be the name of one folder, without / or \\ or a drive; run.dir sets the folder above it")
    check_printable(name)
    if _RESERVED.fullmatch(name) or name[-1] in " .":
        raise ValueError("cannot be the name of a folder on Windows; choose another")
    if len(name.encode(errors="replace")) > LONGEST_NAME:
        raise ValueError(f"is too long: a folder's name has at most {LONGEST_NAME} bytes")
    return name


def check_printable(text: str) -> str:
    """Return a text without control characters; raise ValueError if it has any."""
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in text):
        raise ValueError("holds control characters")
    return text


def leads_outside(path: str) -> bool:
    """Return whether a path is absolute on any system or has ``..``, so that it may lead out of the current folder."""
    windows = PureWindowsPath(path)  # takes both separators
    return bool(windows.drive or windows.root) or ".." in windows.parts
