"""Batches: the same for any number of processes, resumable, each person once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.data.sampler import batches_per_epoch, epoch_batches, evaluation_batches, shard
from pose_core.errors import ConfigError

Batches = list[list[tuple[int, int]]]


def merged(length: int, batch: int, world: int, **options: object) -> Batches:
    """Return the global batches, merged from every process's share."""
    shares = [list(epoch_batches(length, 3, 11, batch, rank, world, **options)) for rank in range(world)]  # type: ignore[arg-type]
    return [[key for part in parts for key in part] for parts in zip(*shares, strict=True)]


@given(st.integers(1, 200), st.integers(1, 8), st.sampled_from([1, 2, 3, 4]), st.booleans())
def test_any_number_of_processes_sees_the_same_batches(length: int, share: int, world: int, shuffle: bool) -> None:
    batch = share * world
    if length < batch and length % world:
        with pytest.raises(ConfigError, match="do not fill one batch"):
            epoch_batches(length, 0, 0, batch, 0, world)
        return
    one, many = merged(length, batch, 1, shuffle=shuffle), merged(length, batch, world, shuffle=shuffle)
    assert many == one[: len(many)]
    # What may be lost is the short batch that cannot be divided.
    assert len(one) - len(many) == int(length % batch % world != 0)
    assert sorted(index for rows in one for _, index in rows) == list(range(length))


def test_every_process_takes_an_equal_share() -> None:
    for rank in range(4):
        sizes = [len(batch) for batch in epoch_batches(100, 0, 0, 16, rank, 4)]
        assert sizes == [4] * 6 + [1]


@given(st.integers(0, 12))
def test_resuming_continues_the_epoch(start: int) -> None:
    whole = list(epoch_batches(100, 5, 1, 8, 1, 2))
    rest = epoch_batches(100, 5, 1, 8, 1, 2, start_batch=start)
    assert list(rest) == whole[start:]
    assert len(rest) == len(whole) - start


def test_epochs_and_seeds_shuffle_differently() -> None:
    orders = [
        [index for batch in epoch_batches(50, epoch, seed, 10) for _, index in batch]
        for epoch, seed in ((0, 0), (1, 0), (0, 1))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert [key for batch in epoch_batches(4, 9, 0, 2, shuffle=False) for key in batch] == [(9, i) for i in range(4)]


def test_the_short_batch_may_be_dropped_always() -> None:
    assert batches_per_epoch(10, 4) == 3
    assert batches_per_epoch(10, 4, drop_last=True) == 2
    assert len(epoch_batches(10, 0, 0, 4, drop_last=True)) == 2


def test_a_batch_must_divide_among_the_processes() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 10 must be divisible by the number of processes, 4: use 8"):
        epoch_batches(100, 0, 0, 10, 0, 4)


@given(st.lists(st.integers(0, 30), min_size=16, max_size=120), st.integers(0, 5))
def test_an_images_people_are_neighbors(groups: list[int], epoch: int) -> None:
    order = [index for batch in epoch_batches(len(groups), epoch, 0, 8, groups=groups) for _, index in batch]
    assert sorted(order) == list(range(len(groups)))
    row = np.array(groups)[order]
    assert 1 + np.count_nonzero(np.diff(row)) == len(set(groups))


def test_grouped_batches_differ_between_epochs() -> None:
    groups = np.arange(300) // 3
    first, second = (
        [
            set((np.array([index for _, index in batch]) // 3).tolist())
            for batch in epoch_batches(300, e, 0, 30, groups=groups)
        ]
        for e in (0, 1)
    )
    assert first != second
    assert all(len(images) <= 11 for images in first)


@given(st.integers(0, 300), st.integers(1, 7), st.integers(1, 50))
def test_evaluation_shards_hold_everything_once(length: int, world: int, batch: int) -> None:
    shares = [evaluation_batches(length, batch, rank, world) for rank in range(world)]
    assert [index for share in shares for rows in share for index in rows] == list(range(length))
    sizes = [len(shard(length, rank, world)) for rank in range(world)]
    assert max(sizes) - min(sizes) <= 1
    # A batch is the same whoever predicts it.
    assert [rows for share in shares for rows in share] == evaluation_batches(length, batch)
