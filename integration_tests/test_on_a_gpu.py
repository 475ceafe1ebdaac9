"""Tests that need a GPU: presets that compile, decoding on the device, and results equal to the CPU's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_core.cli import main
from pose_core.plugins.experiments import load_config
from pose_core.synthetic import write_dataset

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch could use"),
]

DEVICE = "cuda"
BRIEF = ["train.iterations=4", "train.batch_size=4", "train.workers=1", "test.workers=1", "train.log_every=1"]


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["split"] == "train"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return synthetic people in CrowdPose's layout."""
    folder = tmp_path_factory.mktemp("crowd")
    write_dataset(folder, layout="crowdpose", images=12, val_images=6, people=(1, 2), size=(160, 120), seed=3)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "pose-lite/synthetic_quick",
        "pose-mrpose/synthetic_coco",
        "pose-dekr/synthetic_dekr",
        "pose-advpose/synthetic_hgpose_ae",
        "pose-advpose/synthetic_advpose_ae",
    ],
)
@pytest.mark.parametrize("preset", [[], ["--fast"]], ids=["plain", "fast"])
def test_methods_train_and_are_evaluated(
    name: str, preset: list[str], people: Path, crowd: Path, tmp_path: Path
) -> None:
    root = crowd if load_config(name).data.layout == "crowdpose" else people
    place = [f"data.root={root}", f"run.dir={tmp_path}", "run.name=run"]
    assert main(["train", "--cfg", name, "--device", DEVICE, *preset, *place, *BRIEF]) == 0
    found = losses(tmp_path / "run")
    assert len(found) == 4
    assert np.isfinite(found).all()
    run = tmp_path / "run"
    words = ["eval", "--cfg", str(run / "config.yaml"), "--weights", str(run / "last.pt"), "--device", DEVICE]
    assert main([*words, *preset, "--out", str(tmp_path / "eval")]) == 0
    assert list((tmp_path / "eval").rglob("*.json"))


def test_crops_cut_out_on_the_device_teach_the_same(people: Path, tmp_path: Path) -> None:
    first = []
    for decoded in ("false", "true"):
        words = ["train", "--cfg", "pose-lite/synthetic_quick", "--device", DEVICE, f"data.root={people}", *BRIEF]
        more = [f"run.dir={tmp_path}", f"run.name=decoded_{decoded}", f"train.device_decode={decoded}"]
        assert main([*words, *more]) == 0
        first.append(losses(tmp_path / f"decoded_{decoded}")[0])
    # The same network looks at the same crops, to a gray level.
    assert first[1] == pytest.approx(first[0], rel=0.02)


def test_evaluation_finds_what_the_cpu_finds(trained: Path, tmp_path: Path) -> None:
    joints = {}
    for device in ("cpu", DEVICE):
        words = ["eval", "--cfg", str(trained / "config.yaml"), "--weights", str(trained / "best.pt")]
        assert main([*words, "--device", device, "--out", str(tmp_path / device)]) == 0
        (file,) = (tmp_path / device / "results").glob("keypoints_*.json")
        entries = sorted(json.loads(file.read_text()), key=lambda entry: (entry["image_id"], entry["center"]))
        joints[device] = np.array([entry["keypoints"] for entry in entries]).reshape(len(entries), -1, 3)
    # TensorFloat-32 has ten bits: where two peaks are as high, either may win.
    near = np.abs(joints[DEVICE] - joints["cpu"])[..., :2].max(-1) < 1
    assert near.mean() > 0.95
