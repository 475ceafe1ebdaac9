"""Networks of the open-mmlab zoo: associative embedding on HRNet and ResNet, HigherHRNet, the hourglass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pose_core.models.flops import count_parameters
from pose_core.plugins.networks import create_model
from pose_testing.networks import check_zoo


@pytest.mark.parametrize(
    ("golden", "name", "options"),
    [
        ("ae_hrnet_w32_coco", "ae_hrnet_w32", {}),
        ("mm0_higherhrnet_w32_coco", "higherhrnet_w32", {}),
        ("mm0_hourglass_ae_coco", "hg_ae_posenet_stack4", {"outputs": 34}),
    ],
)
def test_outputs_equal_the_zoo_s(golden: str, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    error = check_zoo(golden, create_model(name, num_joints=17, **options), tmp_path / "zoo.pth")
    print(f"{golden}: largest relative error {error:.2e}")
    assert error <= 1e-9


@pytest.mark.parametrize(("width", "parameters"), [(32, 28_645_331), (48, 63_827_139)])
def test_higherhrnet_has_the_published_size(width: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(create_model(f"higherhrnet_w{width}")) == parameters
