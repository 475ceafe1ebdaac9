"""Parts on people of several data sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from pose_asda.dataset import PartedDataset
from pose_core.data.mixture import Mixture


def test_parts_do_not_change_how_often_samples_are_drawn() -> None:
    one = np.ones((2, 1), dtype=np.int64)
    mixture = Mixture(("a", "b"), (1.0, 2.0), ("nose",), one > 0, one, (2, 1), np.array([0, 0, 1]))
    people: Any = SimpleNamespace(mixture=mixture)
    sampler: Any = None
    data = PartedDataset(people, sampler)
    assert data.mixture is mixture
    assert mixture.draws is not None
