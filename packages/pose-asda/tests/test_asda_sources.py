"""Parts on people of several data sets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from pose_asda.dataset import PartedDataset
from pose_core.data.sampler import Draws


def test_parts_do_not_change_how_often_samples_are_drawn() -> None:
    people: Any = SimpleNamespace(draws=Draws(np.array([0, 0, 1]), (1.0, 2.0)), summary="a table")
    sampler: Any = None
    data = PartedDataset(people, sampler)
    assert data.draws is people.draws
    assert data.summary == "a table"
