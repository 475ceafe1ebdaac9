"""Patience with files that were there before: a network file system may be away for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from pose_core.errors import UnreadableError

T = TypeVar("T")

WAITS = (0.1, 0.5, 2.0)
"""Seconds before each further attempt."""

_log = logging.getLogger(__name__)


def read_patiently(read: Callable[[], T]) -> T:
    """Return what ``read`` returns; when it raises an UnreadableError, try again after each of `WAITS`."""
    for number, seconds in enumerate(WAITS):
        try:
            return read()
        except UnreadableError as error:
            if not number:
                _log.warning("%s; trying again for %g s", error, sum(WAITS))
            time.sleep(seconds)
    return read()
