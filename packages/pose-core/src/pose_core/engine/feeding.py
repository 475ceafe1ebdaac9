"""The training samples of a process, batch by batch, from any step of a run to its end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from pose_core.config import Experiment
from pose_core.data.sampler import batches_per_epoch, epoch_batches, loader_workers, worker_init
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.interfaces import TrainingSet
from pose_core.errors import ConfigError, DataError
from pose_core.structures import Batch


def samples_per_step(config: Experiment, processes: int) -> int:
    """Return the number of samples of an optimizer step over all processes, which divides evenly among them."""
    settings = config.train
    size = settings.batch_size if settings.batch_per_process is None else settings.batch_per_process * processes
    if size % (processes * settings.accumulate):
        key = "batch_size" if settings.batch_per_process is None else "batch_per_process"
        raise ConfigError(
            f"train.{key}={getattr(settings, key)} cannot be divided among {processes} processes"
            f" and train.accumulate={settings.accumulate}"
        )
    return size


class Feed:
    """The batches of a run for one process, in the order of its steps, which is a function of the seed."""

    def __init__(self, data: TrainingSet[Any], config: Experiment, process: ProcessContext) -> None:
        self.data, self.config, self.process = data, config, process
        self.draws = None if data.mixture is None else data.mixture.draws
        self.length = len(data) if self.draws is None else sum(self.draws.per_source)
        """The number of samples of an epoch."""
        if not self.length:
            raise ConfigError("the training set has no people; run `pose data check` to find out why")
        self.batch_size = samples_per_step(config, process.world_size)
        self.groups = data.groups if config.train.share_decode else None
        self.drop_last = config.train.accumulate > 1  # a short batch would not split evenly
        self.steps_per_epoch = batches_per_epoch(
            self.length, self.batch_size, process.world_size, drop_last=self.drop_last
        )

    def batches(self, step: int, end: Callable[[], int]) -> Generator[list[Batch], None, None]:
        """Yield the micro-batches of each step on the device, from ``step`` to the run's end, which may change.

        All come from the same loader processes.
        """
        workers = loader_workers(self.config.train.workers)
        loader = DataLoader(
            self.data,
            batch_sampler=self._keys(step, end),  # keys are (epoch, index), not indices alone
            collate_fn=self.data.collate,
            num_workers=workers,
            worker_init_fn=worker_init,
            pin_memory=self.process.device.type == "cuda",
            prefetch_factor=4 if workers else None,
            # A loader draws a seed when it starts; with the global generator, a resumed run would differ.
            generator=torch.Generator().manual_seed(self.config.run.seed),
        )
        try:
            for batch in loader:
                yield self.data.micro_batches(batch, self.process.device, self.config.train.accumulate)
        except DataError as error:
            if not workers:
                raise
            # The frames of its traceback would keep the loader's processes; its text has the traceback of the one it
            # comes from.
            raise error.with_traceback(None) from None

    def _keys(self, step: int, end: Callable[[], int]) -> Iterator[list[tuple[int, int]]]:
        """Yield the samples' keys of this process's batches."""
        while step < end():
            epoch, done = divmod(step, self.steps_per_epoch)
            batches = epoch_batches(
                self.length,
                epoch,
                self.config.run.seed,
                self.batch_size,
                self.process.rank,
                self.process.world_size,
                groups=self.groups,
                start_batch=done,
                drop_last=self.drop_last,
                draws=self.draws,
            )
            yield from batches
            step += len(batches)
