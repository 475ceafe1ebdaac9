"""One process or many: PyTorch's own process groups, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pose_core.errors import ConfigError

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Place:
    """Where this process stands among the others."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``; refuses a GPU that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"run.device={name!r} is no device; use auto, cpu, cuda or cuda:1") from None
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count()
    index = local_rank if device.index is None else device.index
    if index >= count:
        raise ConfigError(f"run.device={name!r}: there is no such GPU, PyTorch sees {count}; use run.device=cpu")
    return torch.device("cuda", index)


def to_device(batch: Any, device: torch.device, data: Any) -> Any:
    """A loader's batch, a named tuple of tensors, on a device; the data set it comes from may finish it there."""
    finish = getattr(data, "on_device", None)
    if finish is not None:
        return finish(batch, device)
    return type(batch)(*(column.to(device, non_blocking=True) for column in batch))


@contextmanager
def process_group(device_name: str) -> Iterator[Place]:
    """Join the group that torchrun set up (NCCL on GPUs, gloo elsewhere), or stand alone without any environment."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        rank = dist.get_rank() if dist.is_initialized() else 0
        yield Place(rank, dist.get_world_size() if dist.is_initialized() else 1, choose_device(device_name))
        return
    device = choose_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Place(dist.get_rank(), world, device)
    finally:
        dist.destroy_process_group()


def current_place() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather_objects(mine: Any) -> list[Any]:
    """What every process holds, in order of rank, given to all."""
    if not dist.is_initialized():
        return [mine]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, mine)
    return gathered


def agree(value: bool, device: torch.device) -> bool:
    """Whether any process says yes."""
    if not dist.is_initialized():
        return value
    flag = torch.tensor([value], dtype=torch.int32, device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


def barrier() -> None:
    """Wait for every process."""
    if dist.is_initialized():
        dist.barrier()
