"""The stacked hourglass in both published variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pose_core.errors import ConfigError
from pose_core.models.hourglass import StackedHourglass
from pose_core.models.weights import load_weights
from pose_testing.networks import check_network

GOLDEN: dict[str, dict[str, Any]] = {
    "asda/hourglass_stack2": {"norm_first": True},
    "asda/hourglass_stack2_modules2": {"modules": 2, "channels": 64, "depth": 3, "norm_first": True},
    "advpose/hg_stack2": {},
    "advpose/hg_stack4_modules2": {"stacks": 4, "modules": 2},
    "advpose/dis_advpose_ae_stack4_feat128": {
        "num_joints": 17,
        "stacks": 4,
        "channels": 128,
        "inputs": 20,
        "full_resolution": True,
    },
}


@pytest.mark.parametrize("golden", GOLDEN)
def test_outputs_equal_the_published_ones(golden: str, tmp_path: Path) -> None:
    error = check_network(golden, StackedHourglass(**{"num_joints": 16, **GOLDEN[golden]}), tmp_path)
    print(f"{golden}: largest relative error {error:.2e}")
    assert error < 1e-6


@pytest.mark.parametrize("norm_first", [False, True])
def test_our_own_layout_loads_unchanged(norm_first: bool) -> None:
    saved = StackedHourglass(4, channels=8, depth=2, norm_first=norm_first)
    other = StackedHourglass(4, channels=8, depth=2, norm_first=norm_first)
    assert load_weights(other, saved.state_dict()).complete
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(saved.eval()(x), other.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("norm_first", [False, True])
def test_every_parameter_that_trains_has_a_gradient(norm_first: bool) -> None:
    network = StackedHourglass(4, channels=8, depth=1, norm_first=norm_first)
    sum(heatmaps.sum() for heatmaps in network(torch.randn(2, 3, 16, 16))).backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in network.parameters())


def test_heatmaps_are_a_quarter_of_the_input_or_of_its_size() -> None:
    x = torch.randn(1, 3, 32, 48)
    assert [tuple(y.shape) for y in StackedHourglass(5, channels=8, depth=2)(x)] == [(1, 5, 8, 12)] * 2
    assert StackedHourglass(5, 1, channels=8, depth=2, full_resolution=True)(x)[0].shape == (1, 5, 32, 48)


def test_an_impossible_hourglass_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one stack"):
        StackedHourglass(16, stacks=0)
