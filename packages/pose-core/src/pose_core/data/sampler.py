"""Batch sampling: the same global batches for any number of processes, resumable at any batch.

Every process computes the same order from (seed, epoch), cuts it into global batches, and takes its contiguous share
of each. Processes do not communicate, and epochs share no state.

An epoch has every sample once. If samples come from several sources with weights, it has each of a source's samples as
often as the weight says: with 2 twice, and with 0.5 a random half of them once, another half in each epoch.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from pose_core.data.machine import available_cores, default_workers
from pose_core.errors import ConfigError, DataError

T = TypeVar("T")
Key = int | tuple[int, int]
"""A sample's index, or (epoch, index): the epoch seeds the sample's augmentation."""


AGAIN = 10**6
"""Added to the epoch in the key of a sample for each time that it has occurred in the epoch, so that it varies."""


class Draws(NamedTuple):
    """How often samples are drawn in an epoch."""

    source: np.ndarray
    """``(length,)``: the number of each sample's source."""
    weights: tuple[float, ...]
    """How often the samples of each source are drawn."""

    @property
    def per_source(self) -> list[int]:
        """The number of samples that an epoch has of each source, the same in every epoch."""
        sizes = np.bincount(self.source, minlength=len(self.weights)).tolist()
        return [round(weight * size) for weight, size in zip(self.weights, sizes, strict=True)]

    def drawn(self, epoch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an epoch's samples ``(N,)``, in rising order, and how often each has occurred before ``(N,)``."""
        rng = np.random.default_rng((seed, epoch, 0, 2))
        times = np.zeros(len(self.source), np.int64)
        for number, count in enumerate(self.per_source):
            samples = np.flatnonzero(self.source == number)
            if len(samples):
                whole, rest = divmod(count, len(samples))
                times[samples] = whole
                times[rng.permutation(samples)[:rest]] += 1
        index = np.repeat(np.arange(len(times)), times)
        return index, np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times)


class EpochBatches:
    """One epoch's batches for one process; a DataLoader's ``batch_sampler``.

    ``order`` are the samples' indices, and ``epoch`` their epochs, or that of all of them.
    """

    def __init__(
        self, order: np.ndarray, epoch: int | np.ndarray, sizes: tuple[int, int], part: tuple[int, int], start: int
    ) -> None:
        self.order, self.sizes, self.start = order, sizes, start
        self.epochs = np.broadcast_to(epoch, order.shape)
        self.rank, self.world = part

    def __len__(self) -> int:
        return max(self.sizes[1] - self.start, 0)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield batches as lists of (epoch, index)."""
        size, count = self.sizes
        for number in range(self.start, count):
            batch = slice(number * size, (number + 1) * size)
            keys = list(zip(self.epochs[batch].tolist(), self.order[batch].tolist(), strict=True))
            share = shard(len(keys), self.rank, self.world)
            yield keys[share.start : share.stop]


def epoch_batches(
    length: int,
    epoch: int,
    seed: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    *,
    shuffle: bool = True,
    groups: Sequence[int] | np.ndarray | None = None,
    start_batch: int = 0,
    drop_last: bool = False,
    draws: Draws | None = None,
) -> EpochBatches:
    """Return the training batches of an epoch, starting at ``start_batch``.

    ``batch_size`` counts samples over all ``world`` processes. The last, short batch is kept if it divides evenly
    among them, and dropped otherwise (or always, with ``drop_last``): every process must contribute equally to the
    gradient. ``groups`` holds each sample's image and keeps an image's people together, see :func:`grouped_order`.
    With ``draws`` the epoch has these samples instead of each of ``length`` once; the key of a sample that occurs again
    has another epoch, see `AGAIN`.
    """
    check_batch_size(batch_size, world)
    epochs: int | np.ndarray = epoch
    if draws is None:
        order = epoch_order(length, epoch, seed, shuffle=shuffle, groups=groups)
    else:
        index, again = draws.drawn(epoch, seed)
        groups = None if groups is None else np.asarray(groups)[index]
        place = epoch_order(len(index), epoch, seed, shuffle=shuffle, groups=groups)
        order, epochs = index[place], epoch + AGAIN * again[place]
    count = batches_per_epoch(len(order), batch_size, world, drop_last=drop_last)
    return EpochBatches(order, epochs, (batch_size, count), (rank, world), start_batch)


def batches_per_epoch(length: int, batch_size: int, world: int = 1, *, drop_last: bool = False) -> int:
    """Return the number of batches of a whole epoch."""
    full, rest = divmod(length, batch_size)
    count = full + int(rest > 0 and rest % world == 0 and not drop_last)
    if not count:
        raise ConfigError(
            f"{length} training samples do not fill one batch of {batch_size} for {world} processes: "
            "lower train.batch_size"
        )
    return count


def check_batch_size(batch_size: int, world: int) -> None:
    """Raise a ConfigError if the batch does not divide evenly among the processes."""
    if batch_size % world:
        near = max(batch_size // world, 1) * world
        raise ConfigError(
            f"train.batch_size {batch_size} must be divisible by the number of processes, {world}: use {near}"
        )


def epoch_order(
    length: int, epoch: int, seed: int, *, shuffle: bool = True, groups: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Return every index once, ``(length,)``, in the order of this epoch."""
    if not shuffle:
        return np.arange(length)
    # The last number separates this stream from those of the samples, which are seeded by (seed, epoch, index).
    rng = np.random.default_rng((seed, epoch, 0, 1))
    if groups is None:
        return rng.permutation(length)
    if len(groups) != length:
        raise ValueError(f"{len(groups)} groups for {length} samples")
    return grouped_order(np.asarray(groups), rng)


def grouped_order(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an order ``(length,)`` in which the people of an image are adjacent, so that it is decoded once.

    Images are shuffled, and people within their image; each person occurs exactly once per epoch. The cost: people
    in a batch are no longer independent draws, since it holds about a third as many images. An image whose people
    span two batches is decoded twice.
    """
    _, number = np.unique(groups, return_inverse=True)
    place = rng.permutation(number.max() + 1 if len(number) else 0)
    return np.lexsort((rng.random(len(groups)), place[number]))


def shard(length: int, rank: int, world: int) -> range:
    """Return a process's contiguous share of ``length`` samples; shares are disjoint, of equal size or off by 1."""
    return range(length * rank // world, length * (rank + 1) // world)


def evaluation_batches(length: int, batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Return a process's share of the samples, in order, in batches of ``batch_size``; the shares are disjoint.

    Shares are made of whole batches, so a batch holds the same samples for any number of processes, and arithmetic
    that depends on the other samples of a batch gives identical results.
    """
    batches = [list(range(first, min(first + batch_size, length))) for first in range(0, length, batch_size)]
    share = shard(len(batches), rank, world)
    return batches[share.start : share.stop]


def loader_workers(asked: int | None) -> int:
    """Return the number of loader processes: ``asked``, but at most the CPU cores of this process.

    More would only take turns. By default (None) it is this process's share of the machine. The number changes no
    sample.
    """
    return default_workers() if asked is None else min(asked, available_cores())


def worker_init(worker: int) -> None:
    """Prepare a loader process: no threads of OpenCV, since the processes are parallel already; no end by signals.

    A signal to the whole group of processes is the main process's to handle; it needs its loader until it stops.
    """
    cv2.setNumThreads(0)
    for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # The main process itself terminates a loader that does not end: with a second signal.
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


@contextmanager
def watching_workers() -> Iterator[None]:
    """Raise DataError if a loader's process is killed within this context, or within a function that it decorates.

    PyTorch learns of it by a signal, and raises wherever the main process is: most often in the work on a batch.
    """
    message = (
        "a loader process was killed ({}), most often by the system for lack of memory: use fewer workers "
        "(train.workers, test.workers) or give the job more memory"
    )
    try:
        try:
            yield
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            if _is_handing_over(error):
                time.sleep(1)  # PyTorch's notice, with the signal, comes in a moment
                raise DataError(message.format("its batch is gone")) from None
            raise
    except RuntimeError as error:  # also while the other error is looked at
        if not str(error).startswith("DataLoader worker"):
            raise
        raise DataError(message.format(str(error).strip())) from None


def _is_handing_over(error: Exception) -> bool:
    """Return whether an error is of the moment at which a process, killed just now, was to hand over its tensors."""
    files = {Path(frame.f_code.co_filename).name for frame, _ in walk_tb(error.__traceback__)}
    return bool(files & {"reductions.py", "resource_sharer.py"})


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return a sample's random generator: the same in any process and in any order of samples."""
    return np.random.default_rng((seed, epoch, index))


def epoch_index(key: Key) -> tuple[int, int]:
    """Return the epoch and index of a sample; a bare index means epoch 0."""
    return key if isinstance(key, tuple) else (0, key)
