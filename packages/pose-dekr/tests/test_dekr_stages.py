"""What the benchmark measures does the work it names."""

from __future__ import annotations

import torch

from pose_core.plugins.method import resolve
from pose_dekr import METHOD
from pose_dekr.decode import Poses
from pose_dekr.microbenchmarks import BATCH, CROWD
from pose_dekr.targets import Targets


def test_stages_make_targets_and_find_everyone() -> None:
    assert METHOD.stages is not None
    first, *others = resolve(METHOD.stages)(torch.device("cpu"))
    targets = first.run()
    assert isinstance(targets, Targets)
    assert len(targets.heatmaps) == first.count == BATCH
    assert (targets.weights > 0).any()
    found = [stage.run() for stage in others]
    assert len(found) == 2
    for people in found:
        assert isinstance(people, Poses)
        assert 0.9 * CROWD <= len(people.scores) <= CROWD
