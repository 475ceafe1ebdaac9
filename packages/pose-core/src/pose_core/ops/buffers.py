"""Memory for large results on a CPU, reused as soon as nothing refers to it any more.

Fresh memory costs more than the kernels that fill it: a page fault for every 4 kB of a result that an allocator took
from the system and gives back with the next. A result keeps its memory for as long as it, or a view of it, exists.
"""

from __future__ import annotations

import math
import sys
from collections import deque

import numpy as np

LEAST, MOST = 2**18, 2**26
"""Bytes of a result whose memory is kept: smaller ones cause few page faults, larger ones would occupy too much."""
ALIGNED = 64
_kept: deque[np.ndarray] = deque(maxlen=4)


def buffer(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array of any content, which shares its memory with nothing that is in use."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not LEAST <= size <= MOST:
        return np.empty(shape, dtype)
    memory = _claimed(size + ALIGNED)
    if memory is None:
        memory = np.empty(size + ALIGNED, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNED
    # Whatever is made of this array refers to `memory`, also the storage of a tensor.
    found = memory[start : start + size].view(dtype).reshape(shape)
    _kept.append(memory)
    return found


def _claimed(size: int) -> np.ndarray | None:
    """Take idle memory of this size out of what is kept, where no other thread finds it any more."""
    for _ in range(len(_kept)):
        try:
            memory = _kept.popleft()
        except IndexError:  # other threads took the rest
            return None
        if len(memory) == size and _references(memory) == _IDLE:
            return memory
        _kept.append(memory)
    return None


def _references(memory: np.ndarray) -> int:
    return sys.getrefcount(memory)


def _idle() -> int:
    """Return `_references` of memory that only the caller refers to: the count itself depends on Python's version."""
    memory = np.empty(1, np.uint8)
    return _references(memory)


_IDLE = _idle()
