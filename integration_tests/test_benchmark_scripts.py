"""The logic of the scripts in shared/benchmark: what they subtract and predict, not the times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "shared" / "benchmark"))

import bench_loop
import stand_in
from baselines.average_by_tensor import AverageByTensor

from pose_core.engine.ema import Average
from pose_core.plugins.networks import create_model


def test_a_stand_in_has_the_modules_and_tensors_of_the_network() -> None:
    network = create_model("lpn_18")
    tiny = stand_in.StandIn(stand_in.outline(network))
    assert list(tiny.state_dict()) == list(network.state_dict())
    assert len(list(tiny.modules())) == len(list(network.modules()))
    tiny(torch.zeros(1)).backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_a_steady_drift_of_the_speed_cancels() -> None:
    plain = [1.0, 1.2, 1.4, 1.6]
    loop = [1.1 + 0.25, 1.3 + 0.25, 1.5 + 0.25]
    assert stand_in.own_cost(loop, plain) == pytest.approx([0.25] * 3)


def test_the_loop_is_timed_in_blocks(tmp_path: Path) -> None:
    shape = stand_in.outline(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    found = bench_loop.loop_seconds(shape, tmp_path, rounds=3, ema=0.9, block=10)
    assert len(found) == 3 + 1
    assert 0 < sorted(found)[2] < 1


def test_the_baseline_averages_the_same() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averages = [AverageByTensor(network, 0.9), Average(network, 0.9)]
    for _ in range(3):
        network(torch.randn(4, 2))
        with torch.no_grad():
            network[0].weight.mul_(2)
        for average in averages:
            average.update()
    one, two = (average.network.state_dict() for average in averages)
    assert all(torch.allclose(one[name], two[name]) for name in one)
    assert int(one["1.num_batches_tracked"]) == 3
