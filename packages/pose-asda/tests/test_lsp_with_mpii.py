"""LSP, its extension and MPII in one file: parts, the vote, and evaluation images with parts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_asda.config import AsdaConfig
from pose_asda.occlude import occlude
from pose_asda.task import AsdaTask
from pose_asda.vote import evaluate_by_vote
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.plugins.published import convert_published
from pose_core.topdown.evaluate import evaluate_topdown

CPU = torch.device("cpu")


@pytest.fixture
def merged(config: AsdaConfig, people: Path, tmp_path: Path) -> AsdaConfig:
    """Synthetic people as if MPII's were for training, LSP's for training and validation."""
    h5py = pytest.importorskip("h5py", reason="the merged file needs the extra pose-core[h5]")
    root = tmp_path / "merged"
    rows = [(record.source, person) for split in ("train", "valid")
            for record in read_dataset(config.data, split).records for person in record.persons]  # fmt: skip
    names = []
    for number, (source, _) in enumerate(rows):
        names.append(f"{'mpii' if number < 4 else 'lsp'}/images/{Path(source).name}")
        (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / names[-1])
    joints = np.array([person.joints for _, person in rows], np.float64)
    codes = np.zeros((len(names), 32))
    for row, name in enumerate(names):
        codes[row, : len(name)] = [ord(letter) for letter in name]
    with h5py.File(root / "lsp_mpii.h5", "w") as file:
        file["imgname"] = codes
        file["part"] = np.where(joints[..., 2:] > 0, joints[..., :2], -1)
        file["center"] = np.array([person.center for _, person in rows])
        file["scale"] = np.array([person.scale[0] / 1.25 for _, person in rows])
        file["visible"] = joints[..., 2]
        file["istrain"] = np.array([1] * 8 + [2] * (len(rows) - 8))
    data = {"layout": "lsp_mpii", "root": str(root), "train": "train", "val": "val", "skeleton": "lsp_mpii16"}
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def test_parts_votes_and_hidden_joints(merged: AsdaConfig, tmp_path: Path) -> None:
    data = AsdaTask(merged, build_network).training_set()
    assert len(data) == 8
    assert all((data[(0, index)].part_types >= 0).any() for index in range(8))
    network = AsdaTask(merged, build_network).networks()["pose"].eval()
    plain = evaluate_topdown(network, merged, CPU, tmp_path / "plain")
    voted = evaluate_by_vote(network, merged, CPU, tmp_path / "voted", [1.0], 1)
    assert plain.name == "LSP PCK@0.2"
    assert dict(voted.metrics) == dict(plain.metrics)
    assert occlude(merged, tmp_path / "hidden", 1) == (4, 4)
    root = {"data": merged.data.model_copy(update={"root": str(tmp_path / "hidden")})}
    assert evaluate_topdown(network, merged.model_copy(update=root), CPU, tmp_path / "out").metrics.keys() == (
        plain.metrics.keys()
    )


def test_a_published_file_of_it_becomes_this_layout() -> None:
    content = {
        "DATASET": {"DATASET": "lspetmpii", "TRAIN_SET": "train", "TEST_SET": "test"},
        "ASA": {"NUM_AUG": "(1,)"},
        "MODEL": {"NAME": "pose_resnet", "NUM_JOINTS": 16, "EXTRA": {"NUM_LAYERS": 50}},
    }
    found = convert_published(content, "lsp.yaml").config
    data = found["data"]
    assert (found["method"], data["layout"], data["skeleton"]) == ("asda", "lsp_mpii", "lsp_mpii16")
    assert (data["train"], data["val"]) == ("train", "val")  # its test set is LSP's, the file's own test is MPII's
    assert found["parts"]["counts"] == [1]
    AsdaConfig.model_validate(found)
