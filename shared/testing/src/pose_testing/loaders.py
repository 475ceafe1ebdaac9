"""Kill loader processes, as a system without memory does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

EXPLAINED = r"a loader process was killed .* use fewer workers \(train.workers, test.workers\)"
"""Pattern of the message that must follow."""


def kill_loaders(*_: object) -> None:
    """Kill all loader processes and wait for the signal that tells PyTorch of it; fail if it raises nothing."""
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)
    time.sleep(20)
    raise AssertionError("PyTorch has not noticed that its loader processes are gone")
