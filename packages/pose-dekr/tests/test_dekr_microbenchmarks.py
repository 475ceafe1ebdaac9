"""Each microbenchmark does the work that it names."""

from __future__ import annotations

import torch

from pose_dekr import METHOD
from pose_dekr.decode import CandidatePoses
from pose_dekr.microbenchmarks import BATCH, CROWD
from pose_dekr.targets import Targets


def test_microbenchmarks_make_targets_and_find_everyone() -> None:
    first, *others = METHOD.microbenchmarks(torch.device("cpu"))
    targets = first.run()
    assert isinstance(targets, Targets)
    assert len(targets.heatmaps) == first.count == BATCH
    assert (targets.weights > 0).any()
    found = [each.run() for each in others]
    assert len(found) == 2
    for people in found:
        assert isinstance(people, CandidatePoses)
        assert 0.9 * CROWD <= len(people.scores) <= CROWD
