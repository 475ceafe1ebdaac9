"""Two data sets with different joints in one training: what a data set does not label is not learned as background."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pose_core.bottomup.dataset import PartlyLabeledBatch
from pose_core.plugins.experiments import load_config
from pose_core.plugins.tasks import build_task
from pose_core.synthetic import write_dataset
from pose_dekr.models import Maps

CPU = torch.device("cpu")
FACE = slice(0, 5)
"""COCO's joints that CrowdPose lacks."""


@pytest.mark.parametrize("system", ["dekr", "bottomup"])
def test_heatmaps_of_joints_that_a_source_lacks_have_no_gradient(system: str, tmp_path: Path) -> None:
    for layout in ("coco", "crowdpose"):
        write_dataset(tmp_path / layout, layout=layout, images=1, val_images=1, people=(2, 2), size=(160, 160), seed=2)
    sources = [{"root": str(tmp_path / "crowdpose"), "layout": "crowdpose"}, {"root": str(tmp_path / "coco")}]
    config = load_config(
        f"pose-dekr/synthetic_{system}",
        [
            f"data.sources={json.dumps(sources)}", "data.layout=coco", "data.skeleton=coco17",
            "model.input_size=[64, 64]",
            'model.options={"width": 16, "blocks": 1, "modules": [1, 1, 1]}', "model.init=framework", "run.device=cpu",
        ],
    )  # fmt: skip
    task = build_task(config)
    network = task.networks()["pose"]
    data = task.training_set()
    batch = data.collate([data[(0, index)] for index in range(2)])
    assert isinstance(batch, PartlyLabeledBatch)
    kept: list[Maps] = []

    def keep(_: object, __: object, output: Maps) -> None:
        for maps in output:
            maps.retain_grad()
        kept.append(output)

    network.register_forward_hook(keep)
    task.objective(CPU).step({"pose": network}, batch, lambda _, loss: loss.backward())
    heatmaps, offsets = (gradient(maps) for maps in kept[0])
    assert not heatmaps[0, FACE].any(), "CrowdPose's image"
    assert heatmaps[0, 5:].all(), "joints that are labeled, and the center, are learned"
    assert heatmaps[1].all()
    assert not offsets.unflatten(1, (17, 2))[0, FACE].any()
    assert offsets.unflatten(1, (17, 2))[0, 5:].any()


def gradient(maps: Tensor) -> Tensor:
    """Return whether each map ``(N, C)`` has a gradient."""
    assert maps.grad is not None
    return maps.grad.abs().amax((2, 3)) > 0
