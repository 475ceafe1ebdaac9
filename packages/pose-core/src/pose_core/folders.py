"""The folders of data sets and caches: ``POSE_DATA`` and ``POSE_HOME``."""

from __future__ import annotations

import os
from pathlib import Path


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


def cache_home() -> Path:
    """Return the folder of caches: POSE_HOME, or ``~/.cache/pose``."""
    home = os.environ.get("POSE_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "pose"
