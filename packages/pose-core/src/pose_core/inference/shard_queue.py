"""Which process of a job does which shard: each takes the next one when it is done with its last.

The processes count through the store that torchrun keeps for them. It ends with the job, so that the next job, whoever
died in this one, begins with all shards that are missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch.distributed.rendezvous import rendezvous

from pose_core.engine.distributed import choose_device
from pose_core.errors import ConfigError, PoseError
from pose_core.machine import cores

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others to start."""


class Place(NamedTuple):
    """Where a process stands in a job: its number of all, and of those on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def of_environment(cls) -> Place:
        """Return this process's place, by the variables that torchrun sets."""
        names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        try:
            place = cls(*(int(os.environ.get(name, default)) for name, default in names.items()))
        except ValueError:
            raise ConfigError(f"{', '.join(names)} must be integers, as torchrun sets them") from None
        if not 0 <= place.rank < place.world_size or place.local_size < 1 or place.local_rank < 0:
            raise ConfigError(f"RANK={place.rank} is not a process of WORLD_SIZE={place.world_size}")
        return place

    def share_cores(self) -> int:
        """Let PyTorch use this process's share of the machine's cores, and return it.

        ``OMP_NUM_THREADS`` says another number for PyTorch. (torchrun sets it to 1 if nobody has set it.)
        """
        share = max(cores() // self.local_size, 1)
        said = os.environ.get("OMP_NUM_THREADS")
        if said is None or (said == "1" and "TORCHELASTIC_RUN_ID" in os.environ):
            torch.set_num_threads(share)
        return share

    def device(self, name: str) -> str:
        """Return the device for the ``run.device`` of a config: this process's GPU, which it shares if it must."""
        return str(choose_device(name, self.local_rank % max(torch.cuda.device_count(), 1)))


class _Store(Protocol):
    def add(self, key: str, amount: int) -> int: ...


class ShardQueue:
    """The shards of a job, each for one of its processes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.store: _Store | None = None
        if place.world_size > 1:
            try:
                self.store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
            except (RuntimeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise PoseError(f"the processes of this job could not connect to each other: {reason}") from error

    def after_first(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, in the first process before it begins in the others.

        If it fails there, the others do not begin: one process says why, and the launcher ends all.
        """
        while self.place.rank and self.store is not None and not self._add("begun", 0):
            time.sleep(0.1)
        result = work()
        if self.place.rank == 0 and self.store is not None:
            self._add("begun", 1)
        return result

    def take(self, shards: int) -> Iterator[int]:
        """Yield the numbers below ``shards`` that no other process has taken, until there is none."""
        if self.store is None:
            yield from range(shards)
            return
        while (shard := self._add("taken", 1) - 1) < shards:
            yield shard

    def finish(self) -> None:
        """Say that this process is done; the first one returns when all are."""
        if self.store is None:
            return
        self._add("finished", 1)
        while self.place.rank == 0 and self._add("finished", 0) < self.place.world_size:
            time.sleep(0.1)

    def _add(self, name: str, number: int) -> int:
        assert self.store is not None
        try:
            return int(self.store.add(f"pose/{name}", number))
        except RuntimeError as error:
            raise PoseError("another process of this job has failed; see its message") from error
