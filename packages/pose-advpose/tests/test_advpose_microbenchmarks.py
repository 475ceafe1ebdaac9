"""Each microbenchmark does the work that it names."""

from __future__ import annotations

import torch

from pose_advpose import METHOD
from pose_advpose.grouping import Grouped
from pose_advpose.microbenchmarks import BATCH, PEOPLE


def test_microbenchmarks_learn_tags_and_find_everyone() -> None:
    first, *others = METHOD.microbenchmarks(torch.device("cpu"))
    gradient = first.run()
    assert isinstance(gradient, torch.Tensor)
    assert len(gradient) == first.count == BATCH
    assert (gradient != 0).flatten(1).any(1).all()
    found = [each.run() for each in others]
    assert len(found) == 2
    for people in found:
        assert isinstance(people, Grouped)
        assert 0.9 * PEOPLE <= len(people.scores) <= 1.1 * PEOPLE
        assert (people.values > 0).float().mean() > 0.9
