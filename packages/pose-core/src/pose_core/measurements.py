"""Remember what was measured on this machine, so that the fastest of several equal ways is chosen without a new probe.

One file per machine and set of libraries below ``POSE_HOME/measurements``: a folder may be shared by several machines.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from pose_core import machine
from pose_core.errors import PoseError
from pose_core.files import write_json
from pose_core.folders import cache_home, make_cache
from pose_core.reading.json_text import read_json

FOLDER = "measurements"
_log = logging.getLogger(__name__)
_ignored: ContextVar[bool] = ContextVar("_ignored", default=False)


def measurements_file() -> Path:
    """Return the file of this machine with the installed libraries; it need not exist."""
    return cache_home() / FOLDER / f"{_fingerprint()}.json"


@contextmanager
def without_measurements() -> Iterator[None]:
    """Choose as if nothing had been measured, in this block: the figures of a training must not depend on times."""
    token = _ignored.set(True)
    try:
        yield
    finally:
        _ignored.reset(token)


def are_ignored() -> bool:
    """Return whether the caller is in a block of `without_measurements`."""
    return _ignored.get()


def recall(section: str) -> dict[str, dict[str, float]]:
    """Return the seconds measured here: what was done → the way → seconds; nothing if nothing was measured.

    A damaged file is ignored, and a warning logged: it can be measured again.
    """
    file = measurements_file()
    if not file.exists():
        return {}
    try:
        found = read_json(file, "file of measurements").get(section, {})
        return {str(work): {str(way): float(seconds) for way, seconds in ways.items()} for work, ways in found.items()}
    except (PoseError, AttributeError, TypeError, ValueError):
        _warn_once(file)
        return {}


def remember(section: str, found: Mapping[str, Mapping[str, float]]) -> Path:
    """Add measured seconds to this machine's file, replacing those of the same work; return the file."""
    file = measurements_file()
    sections = {name: recall(name) for name in ("ops", "networks") if name != section}
    merged = recall(section) | {work: dict(ways) for work, ways in found.items()}
    make_cache(FOLDER)
    write_json(
        file,
        {"machine": machine.processor(), "versions": machine.versions(), **sections, section: merged},
        indent=1,
    )
    _warn_once.cache_clear()  # should this file be damaged later, that is news
    return file


@cache
def _warn_once(file: Path) -> None:
    _log.warning("%s is damaged: its measurements are not used, and the next ones replace them", file)


@cache
def _fingerprint() -> str:
    described = json.dumps([machine.processor(), machine.versions()], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]
