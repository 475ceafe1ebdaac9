"""How much is printed: normal, more with ``-v``, less with ``-q``."""

from __future__ import annotations

import logging
from enum import Enum


class Verbosity(Enum):
    """What the command line prints besides results, warnings and errors."""

    QUIET = "nothing"
    NORMAL = "progress"
    VERBOSE = "progress, information on what is done, and the traceback of an error"


_current = Verbosity.NORMAL


def set_verbosity(verbosity: Verbosity) -> None:
    """Set what is printed. ``VERBOSE`` also shows the informative messages of this project's loggers."""
    global _current
    _current = verbosity
    if verbosity is Verbosity.VERBOSE and logging.lastResort is not None:
        logging.getLogger().setLevel(logging.INFO)
        logging.lastResort.setLevel(logging.INFO)
        logging.lastResort.addFilter(_is_wanted)


def _is_wanted(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("pose_")


def is_quiet() -> bool:
    """Return whether only results, warnings and errors are to be printed."""
    return _current is Verbosity.QUIET


def is_verbose() -> bool:
    """Return whether more than usual is to be printed."""
    return _current is Verbosity.VERBOSE


def no_bar(*, elsewhere: bool = False) -> bool | None:
    """Return tqdm's ``disable``: no bar if quiet, ``elsewhere`` (in another process), or without a terminal."""
    return True if elsewhere or is_quiet() else None
