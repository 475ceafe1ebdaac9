"""DEKR's weights of the open-mmlab zoo, of both generations, and the scoring network in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pose_core.plugins.networks import create_model
from pose_testing.networks import check_zoo

ToZoo = Callable[[list[torch.Tensor]], list[torch.Tensor]]


def to_first_generation(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return our maps with the center's heatmap first."""
    return [outputs[0].roll(1, 1), outputs[1]]


def to_second_generation(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return our maps with offsets from place to joint."""
    return [outputs[0], -outputs[1]]


@pytest.mark.parametrize(
    ("golden", "to_zoo"),
    [("dekr_hrnet_w32_coco", to_second_generation), ("mm0_dekr_hrnet_w32_coco", to_first_generation)],
)
def test_outputs_equal_the_zoo_s(golden: str, to_zoo: ToZoo, tmp_path: Path) -> None:
    error = check_zoo(golden, create_model("dekr_hrnet_w32", num_joints=17), tmp_path / "zoo.pth", to_zoo)
    print(f"{golden}: largest relative error {error:.2e}")
    assert error <= 1e-9
