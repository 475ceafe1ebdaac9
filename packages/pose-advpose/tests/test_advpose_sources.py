"""Two data sets with different joints in one training: what a data set does not label is not learned as background."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pose_advpose.augment import PartlyLabeledCrops
from pose_core.bottomup.dataset import PartlyLabeledBatch
from pose_core.errors import ConfigError
from pose_core.plugins.tasks import build_task
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import TopDownConfig

CPU = torch.device("cpu")
FACE = slice(0, 5)
"""COCO's joints that CrowdPose and MPII lack."""


def gradients(config: TopDownConfig, kind: type) -> Tensor:
    """Return whether each heatmap ``(2, 17)`` has a gradient, for a sample of the first source and one of the last."""
    task = build_task(config)
    networks = task.networks()
    data = task.training_set()
    batch = data.collate([data[(0, index)] for index in (0, len(data) - 1)])
    assert isinstance(batch, kind)
    kept: list[Tensor] = []
    networks["pose"].register_forward_hook(lambda _, __, stacks: kept.append(stacks[-1]) or stacks[-1].retain_grad())
    task.objective(CPU).step(networks, batch, lambda name, loss: loss.backward() if name == "pose" else None)
    assert kept[0].grad is not None
    return kept[0].grad[:, :17].abs().amax((2, 3)) > 0


@pytest.mark.parametrize("task", ["hgpose-ae", "advpose-ae"])
def test_embedding_ignores_joints_that_a_source_lacks(
    task: str, sets: Path, tiny: Callable[..., TopDownConfig], tmp_path: Path
) -> None:
    write_dataset(tmp_path, layout="crowdpose", images=1, val_images=1, people=(2, 2), size=(64, 64), seed=2)
    sources = [{"root": str(tmp_path), "layout": "crowdpose", "name": "crowds"}, {"root": str(sets / "coco")}]
    learned = gradients(tiny(task, f"data.sources={json.dumps(sources)}"), PartlyLabeledBatch)
    assert not learned[0, FACE].any()
    assert learned[0, 5:].all()
    assert learned[1].all()
    ids = tmp_path / "ids.txt"
    ids.write_text("1\n")
    with pytest.raises(ConfigError, match=r"set split\.valid_ids=null"):
        build_task(tiny(task, f"data.sources={json.dumps(sources)}", f"split.valid_ids={ids}")).training_set()


@pytest.mark.parametrize("task", ["hgpose", "advpose"])
def test_hourglass_ignores_joints_that_a_source_lacks(
    task: str, sets: Path, tiny: Callable[..., TopDownConfig]
) -> None:
    sources = [{"root": str(sets / "mpii"), "layout": "mpii"}, {"root": str(sets / "coco")}]
    config = tiny(
        task, f"data.sources={json.dumps(sources)}", f"data.root={sets / 'coco'}", "data.layout=coco",
        "data.skeleton=coco17", "data.val=val2017",
    )  # fmt: skip
    learned = gradients(config, PartlyLabeledCrops)
    assert not learned[0, FACE].any()
    assert learned[0, 5:].all()
    assert learned[1].all()


def test_whole_images_are_scored_by_source(sets: Path, tiny: Callable[..., TopDownConfig], tmp_path: Path) -> None:
    write_dataset(tmp_path / "crowds", layout="crowdpose", images=1, val_images=1, people=(2, 2), size=(64, 64))
    crowds = {"root": str(tmp_path / "crowds"), "layout": "crowdpose", "val": "val"}
    task = build_task(tiny("hgpose-ae", f"data.sources={json.dumps([crowds])}"))
    evaluation = task.evaluate(task.networks(), CPU, tmp_path)
    assert evaluation.name == "COCO AP"
    assert {"AP", "crowds/AP", "crowds/APH"} < set(evaluation.metrics)
    assert "evaluator=CrowdPose AP on 12 of 14 joints (the network has no head, neck)" in evaluation.report
    assert (tmp_path / "sources/crowds/results/keypoints_val_results.json").is_file()


def test_layouts_that_do_not_annotate_everybody_are_refused(sets: Path, tiny: Callable[..., TopDownConfig]) -> None:
    mpii = {"root": str(sets / "mpii"), "layout": "mpii", "val": "valid"}
    task = build_task(tiny("hgpose-ae", f"data.sources={json.dumps([mpii])}"))
    with pytest.raises(ConfigError, match=r"data\.sources, mpii: the layout mpii does not annotate all people"):
        task.training_set()
    with pytest.raises(ConfigError, match=r"data\.sources, mpii: the layout mpii has no protocol for whole images"):
        task.held_out_of["mpii"]()
