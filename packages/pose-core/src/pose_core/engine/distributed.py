"""One process or many: PyTorch's own process groups, started by torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from pose_core.errors import ConfigError, PoseError

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class ProcessContext:
    """A process of a training run."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes logs and files."""
        return self.rank == 0


def choose_device(name: str, local_rank: int = 0, *, key: str = "run.device") -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, the value of ``key``.

    Raise ConfigError if there is no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"{key}={name!r} is not a device; use auto, cpu, cuda or cuda:1") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(
            f"{key}={name!r} is not supported: positions are computed in float64, which Apple's GPUs lack, and no "
            "other accelerator has been tried; use cpu, cuda or cuda:1"
        )
    count = torch.cuda.device_count()
    index = local_rank if device.index is None else device.index
    if index >= count:
        raise ConfigError(f"{key}={name!r}: no such GPU, PyTorch finds {count}; use {key}=cpu")
    return torch.device("cuda", index)


@contextmanager
def process_group(device_name: str) -> Iterator[ProcessContext]:
    """Join the group that torchrun set up (NCCL on GPUs, gloo elsewhere); without one, be the only process."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        rank, world = rank_and_world_size()
        device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield ProcessContext(rank, world, device)
        return
    device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # What is agreed on is sent from CPU to CPU, without waiting for the GPUs.
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise PoseError(f"the processes of this job could not connect to each other: {reason}") from error
    try:
        yield ProcessContext(dist.get_rank(), world, device)
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise PoseError("another process of this job has failed; see its message") from error
    finally:
        dist.destroy_process_group()


def _is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an error only tells that another process is gone."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
    return isinstance(error, dist.DistBackendError) or any(sign in str(error) for sign in signs)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather_objects(mine: Any) -> list[Any]:
    """Return the objects of all processes, in order of rank, in every process."""
    if not dist.is_initialized():
        return [mine]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, mine)
    return gathered


def broadcast_object(mine: T) -> T:
    """Return the first process's object in every process."""
    if not dist.is_initialized():
        return mine
    shared = [mine]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]


def first_process(work: Callable[[], T]) -> T:
    """Return what the first process's ``work`` returns; if it fails, all processes stop, and one says why."""
    result: T | None = None
    refusal: PoseError | None = None
    rank, _ = rank_and_world_size()
    if rank == 0:
        try:
            result = work()
        except PoseError as error:
            refusal = error
    result, refusal = broadcast_object((result, refusal))
    if refusal is not None:
        raise refusal if rank == 0 else SystemExit(refusal.exit_code)
    return cast(T, result)


def any_process(value: bool) -> bool:
    """Return whether ``value`` is true in any process."""
    return bool(max_over_processes([int(value)])[0])


def max_over_processes(values: list[int]) -> list[int]:
    """Return the largest of each value over all processes."""
    if not dist.is_initialized():
        return values
    # A group that somebody else has set up may have no way from CPU to CPU.
    device = "cpu" if "cpu" in dist.get_backend_config() else "cuda"
    shared = torch.tensor(values, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    found: list[int] = shared.tolist()
    return found


class Agreement:
    """What the processes agree on about once a second: to ask the others in each step would slow all down."""

    def __init__(self) -> None:
        self.step, self.next, self.time = 0, 0, time.monotonic()

    def any(self, value: bool, step: int, *, now: bool = False) -> bool:
        """Return whether ``value`` is true in any process, if the others are asked at this step, else False.

        All processes call this after each of their steps; ``now`` asks in any case.
        """
        if not dist.is_initialized():
            return value
        if step < self.next and not now:
            return False
        before, self.time = self.time, time.monotonic()
        rate = (step - self.step) / max(self.time - before, 1e-3)
        found, interval = max_over_processes([int(value), min(max(int(rate), 1), 100)])
        self.step, self.next = step, step + interval
        return bool(found)


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean of ``values`` over all processes."""
    if not dist.is_initialized():
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()


def barrier() -> None:
    """Wait for every process."""
    if dist.is_initialized():
        dist.barrier()
