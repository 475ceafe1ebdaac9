"""DEKR's weights of the open-mmlab zoo, of both generations, and the scoring network in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_core.plugins.networks import create_model
from pose_testing.networks import check_zoo


@pytest.mark.parametrize("golden", ["dekr_hrnet_w32_coco", "mm0_dekr_hrnet_w32_coco"])
def test_outputs_equal_the_zoo_s(golden: str, tmp_path: Path) -> None:
    error = check_zoo(golden, create_model("dekr_hrnet_w32", num_joints=17), tmp_path / "zoo.pth")
    print(f"{golden}: largest relative error {error:.2e}")
    assert error <= 1e-9
