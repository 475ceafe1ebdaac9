"""Memory for large results on a CPU, reused as soon as nothing refers to it any more.

Fresh memory costs more than the kernels that fill it: a page fault for every 4 kB of a result that an allocator took
from the system and gives back with the next. A result keeps its memory for as long as it, or a view of it, exists.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from threading import Lock

import numpy as np

LEAST, MOST = 2**18, 2**26
"""Bytes of a result whose memory is kept: smaller ones cause few page faults, larger ones would occupy too much."""
ALIGNED = 64
_kept: deque[np.ndarray] = deque(maxlen=4)
_lock = Lock()


def buffer(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array of any content, which shares its memory with nothing that is in use."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, dtype)
    with _lock:
        for number in range(len(_kept)):
            if len(_kept[number]) == size + ALIGNED and _references(number) == _IDLE:
                return _part(_kept[number], size).view(dtype).reshape(shape)
        _kept.append(np.empty(size + ALIGNED, np.uint8))
        return _part(_kept[-1], size).view(dtype).reshape(shape)


def _part(memory: np.ndarray, size: int) -> np.ndarray:
    """Return the aligned part of memory; arrays made of it refer to ``memory``, also those that tensors refer to."""
    start = -memory.__array_interface__["data"][0] % ALIGNED
    return memory[start : start + size]


def _references(number: int) -> int:
    """Return how often memory that is kept is referred to."""
    return sys.getrefcount(_kept[number])


def _idle() -> int:
    """Return `_references` of memory that only the list refers to: the count itself depends on Python's version."""
    _kept.append(np.empty(1, np.uint8))
    try:
        return _references(0)
    finally:
        _kept.clear()


_IDLE = _idle()
