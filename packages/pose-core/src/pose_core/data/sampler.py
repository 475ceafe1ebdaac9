"""Which samples make a batch: the same global batches for any number of processes, resumable anywhere.

Every process works out the same order from (seed, epoch), cuts it into global batches, and takes its contiguous share
of each. Nothing is communicated and nothing is carried from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from pose_core.errors import ConfigError

Key = int | tuple[int, int]
"""A sample's index, or (epoch, index): the epoch changes how the sample is augmented."""


class EpochBatches:
    """One epoch's batches for one process; goes into a DataLoader as ``batch_sampler``."""

    def __init__(
        self, order: np.ndarray, epoch: int, sizes: tuple[int, int], part: tuple[int, int], start: int
    ) -> None:
        self.order, self.epoch, self.sizes, self.start = order, epoch, sizes, start
        self.rank, self.world = part

    def __len__(self) -> int:
        return max(self.sizes[1] - self.start, 0)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Lists of (epoch, index)."""
        size, count = self.sizes
        for number in range(self.start, count):
            batch = self.order[number * size : (number + 1) * size]
            share = shard(len(batch), self.rank, self.world)
            yield [(self.epoch, int(index)) for index in batch[share.start : share.stop]]


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
) -> EpochBatches:
    """The training batches of an epoch, from ``start_batch`` on.

    ``batch_size`` counts samples over all ``world`` processes. The last, short batch is kept where it divides evenly
    among them, and dropped otherwise (or always, with ``drop_last``): every process must take the same share of the
    gradient. ``groups`` names each sample's image and keeps an image's people together, see :func:`grouped_order`.
    """
    check_batch_size(batch_size, world)
    order = epoch_order(length, epoch, seed, shuffle=shuffle, groups=groups)
    count = batches_per_epoch(length, batch_size, world, drop_last=drop_last)
    return EpochBatches(order, epoch, (batch_size, count), (rank, world), start_batch)


def batches_per_epoch(length: int, batch_size: int, world: int = 1, *, drop_last: bool = False) -> int:
    """How many batches :func:`epoch_batches` gives from its start."""
    full, rest = divmod(length, batch_size)
    count = full + int(rest > 0 and rest % world == 0 and not drop_last)
    if not count:
        raise ConfigError(
            f"{length} training samples do not fill one batch of {batch_size} for {world} processes: "
            "lower train.batch_size"
        )
    return count


def check_batch_size(batch_size: int, world: int) -> None:
    """Refuse a batch that does not divide among the processes."""
    if batch_size % world:
        near = max(batch_size // world, 1) * world
        raise ConfigError(
            f"train.batch_size {batch_size} must be divisible by the number of processes, {world}: {near} is"
        )


def epoch_order(
    length: int, epoch: int, seed: int, *, shuffle: bool = True, groups: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Every index once, ``(length,)``, in the order of this epoch."""
    if not shuffle:
        return np.arange(length)
    # The last number keeps this stream apart from the samples' own, which are seeded by (seed, epoch, index).
    rng = np.random.default_rng((seed, epoch, 0, 1))
    if groups is None:
        return rng.permutation(length)
    if len(groups) != length:
        raise ValueError(f"{len(groups)} groups for {length} samples")
    return grouped_order(np.asarray(groups), rng)


def grouped_order(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order ``(length,)`` in which an image's people are neighbors, so that one decode serves them all.

    Images are shuffled afresh each epoch and people within their image; each person comes exactly once, so an epoch
    weighs people as ever. What is lost: the people of a batch are no longer independent draws, since about a third as
    many images stand in it. An image whose people straddle the end of a batch is decoded twice.
    """
    _, number = np.unique(groups, return_inverse=True)
    place = rng.permutation(number.max() + 1 if len(number) else 0)
    return np.lexsort((rng.random(len(groups)), place[number]))


def shard(length: int, rank: int, world: int) -> range:
    """A process's contiguous share of ``length`` samples: every sample in exactly one, sizes within one."""
    return range(length * rank // world, length * (rank + 1) // world)


def evaluation_batches(length: int, batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """A process's share, in order, in batches of ``batch_size``; no sample twice: shares merge to the whole.

    Whole batches are dealt out, so that a batch holds the same samples for any number of processes: arithmetic that
    depends on a batch's company gives the very same numbers.
    """
    batches = [list(range(first, min(first + batch_size, length))) for first in range(0, length, batch_size)]
    share = shard(len(batches), rank, world)
    return batches[share.start : share.stop]


def worker_init(worker: int) -> None:
    """Loader processes are the parallelism: threads of OpenCV's own would only fight over the cores."""
    cv2.setNumThreads(0)


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """A generator of this sample's own: the same in any process, in any order of samples."""
    return np.random.default_rng((seed, epoch, index))


def epoch_index(key: Key) -> tuple[int, int]:
    """Epoch and index of a sample; a bare index is of epoch 0."""
    return key if isinstance(key, tuple) else (0, key)
