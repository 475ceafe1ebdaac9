"""The cores and the memory that this process may use, also where a container or a scheduler limits them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MAX_WORKERS = 16
"""Loader processes by default; more rarely pay."""
WORKER_MEMORY = 512 * 2**20
"""Bytes for a loader process and its batches in advance; half of the memory is for loaders."""
WORKER_SHARED = 128 * 2**20
"""Bytes of its batches, which it hands over in shared memory."""

_log = logging.getLogger(__name__)
_MEMBERSHIP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_SHARED = Path("/dev/shm")


def available_cores() -> int:
    """Return the number of cores that this process may use, rounded where a limit is not a whole number."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for group in _control_groups("cpu"):
        quota, period = _numbers(group / "cpu.max") or (None, None)
        if quota is None:
            (quota,) = _numbers(group / "cpu.cfs_quota_us") or (None,)
            (period,) = _numbers(group / "cpu.cfs_period_us") or (None,)
        if quota and period and quota > 0:
            cores = min(cores, quota / period)
    return max(round(cores), 1)


def available_memory() -> int | None:
    """Return the bytes of memory that this process may use, by others or not; None if the system does not say."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for group in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += [limit for limit in _numbers(group / name) if limit is not None]
    return min(limits, default=None)


def default_workers() -> int:
    """Return the number of loader processes for each training process: the cores divided among those of this machine.

    It is at most 16, and less where memory is short. A training process with one core loads by itself: a loader would
    only take turns with it.
    """
    trainings = max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
    workers = min(available_cores() // trainings, MAX_WORKERS)
    if workers < 2:
        return 0
    memory = available_memory()
    if memory is not None:
        workers = min(workers, memory // 2 // WORKER_MEMORY // trainings)
    if _SHARED.is_dir():
        shared = shutil.disk_usage(_SHARED).total
        if shared // WORKER_SHARED // trainings < workers:
            workers = shared // WORKER_SHARED // trainings
            _warn_of_shared_memory(workers, shared // 2**20)
    return workers


@cache
def _warn_of_shared_memory(workers: int, megabytes: int) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":
        _log.warning(
            "loader processes: only %d, since the shared memory (%s) has only %d MB; start the container with more "
            "(docker run --ipc=host, or --shm-size=8g), or set train.workers and test.workers",
            workers, _SHARED, megabytes,
        )  # fmt: skip


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of the groups around it (Linux, versions 1 and 2)."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = _CGROUPS / controller if controllers else _CGROUPS
        # In a container the path may be the host's, of which only the top is visible.
        folder = top / path.lstrip("/")
        yield from (group for group in (folder, *folder.parents) if group.is_relative_to(top))


def _numbers(file: Path) -> list[int | None]:
    """Return the numbers in a file, None for any other word (``max``); nothing if it cannot be read."""
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) if word.lstrip("-").isdigit() else None for word in words]
