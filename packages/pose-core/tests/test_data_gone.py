"""Data that stay away end a training, and not a step of it is lost."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pose_core.engine.trainer import train
from pose_core.errors import DataError
from pose_testing.tiny_task import Plane, Points, Tiny, config, equal, weights


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Vanishing(Plane):
    """A data set that is gone from the 8th step on, in the second epoch."""

    def __getitem__(self, key: tuple[int, int]) -> Points:
        epoch, _ = key
        self.read = getattr(self, "read", 0) + (epoch == 1)
        if self.read > 8:
            raise DataError("image a.jpg does not exist")
        return super().__getitem__(key)


class Interrupted(Tiny):
    def training_set(self) -> Plane:
        return Vanishing()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_steps_before_are_saved_and_resumed_exactly(tmp_path: Path, workers: int) -> None:
    whole = train(Tiny(config(tmp_path / "whole", workers=workers)))
    with without_collector(), pytest.raises(DataError, match=r"a\.jpg does not exist"):
        train(Interrupted(config(tmp_path / "gone", workers=workers)))
    assert not multiprocessing.active_children()
    last = torch.load(tmp_path / "gone/tiny/last.pt", weights_only=True)
    assert last["step"] == 7
    again = train(Tiny(config(tmp_path / "gone", workers=workers)), resume=True)
    assert again.step == whole.step == 15
    assert equal(weights(again), weights(whole))
