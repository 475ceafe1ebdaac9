"""What the benchmark measures does the work it names."""

from __future__ import annotations

import torch

from pose_advpose import METHOD
from pose_advpose.grouping import Grouped
from pose_advpose.microbenchmarks import BATCH, PEOPLE
from pose_core.plugins.method import resolve


def test_stages_learn_tags_and_find_everyone() -> None:
    assert METHOD.stages is not None
    first, *others = resolve(METHOD.stages)(torch.device("cpu"))
    gradient = first.run()
    assert isinstance(gradient, torch.Tensor)
    assert len(gradient) == first.count == BATCH
    assert (gradient != 0).flatten(1).any(1).all()
    found = [stage.run() for stage in others]
    assert len(found) == 2
    for people in found:
        assert isinstance(people, Grouped)
        assert 0.9 * PEOPLE <= len(people.scores) <= 1.1 * PEOPLE
        assert (people.values > 0).float().mean() > 0.9
