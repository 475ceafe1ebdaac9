"""Time and peak memory of a function."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


def seconds_of(run: Callable[[], object], device: torch.device, budget: float = 1.0, least: int = 3) -> float:
    """Measure the median seconds of ``run``, called for ``budget`` seconds and at least ``least`` times.

    One call before these is not counted.
    """
    wait = synchronizer(device)
    run()
    wait()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < least or time.perf_counter() < end:
        started = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - started)
    return median(times)


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Return a function that waits until a device has finished its work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use ``count`` CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_megabytes(run: Callable[[], object], device: torch.device) -> float:
    """Measure the peak memory of ``run`` in MB, beyond what is allocated before it.

    On a GPU this is the peak of PyTorch's allocator. On a CPU it is the size of all tensors that exist at the same
    time; memory inside operators is not counted.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before) / 2**20
    with _StorageCounter() as counter:
        run()
    return counter.peak / 2**20


def free_megabytes(device: torch.device) -> float:
    """Return the free memory in MB: for a CPU, what Linux and the container allow, infinite on other systems."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    free = [float("inf")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free.append(int(line.split()[1]) / 2**10)
    for limit, used in zip(_lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current"), strict=False):
        if limit.isdecimal():
            free.append((int(limit) - int(used)) / 2**20)
    return min(free)


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


class _StorageCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operators allocate, until each is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_address(value) for value in tree_iter((args, kwargs)) if isinstance(value, Tensor)}
        outputs = func(*args, **(kwargs or {}))
        for value in tree_iter(outputs):
            if not isinstance(value, Tensor) or value.is_mkldnn:
                continue
            if _address(value) in given or _address(value) in self.live:
                continue
            storage = value.untyped_storage()
            self.live[storage.data_ptr()] = storage.nbytes()
            weakref.finalize(storage, self.live.pop, storage.data_ptr(), None)
            self.peak = max(self.peak, sum(self.live.values()))
        return outputs


def _address(tensor: Tensor) -> int:
    """Return the address of a tensor's storage; 0 for packed weights, which have none."""
    return 0 if tensor.is_mkldnn else int(tensor.untyped_storage().data_ptr())
