"""Networks as ONNX files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.errors import PoseError
from pose_core.inference.export import export_onnx
from pose_core.models.hourglass import StackedHourglass
from pose_core.plugins.networks import create_model

onnx = pytest.importorskip("onnx", reason="the extra pose-core[export] is not installed")
pytest.importorskip("onnxscript", reason="the extra pose-core[export] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra pose-core[export] is not installed")


def test_a_network_answers_the_same_for_any_batch(tmp_path: Path) -> None:
    network = create_model("simplebaseline_resnet18", num_joints=5, width=8, filters=(8, 8, 8)).eval()
    done = export_onnx(network, (96, 64), tmp_path / "net.onnx", notes={"joints": ["a", "b"]})
    assert done.error is not None
    assert done.error < 1e-5
    assert done.outputs == ("heatmaps",)
    session = onnxruntime.InferenceSession(str(done.file))
    x = torch.randn(5, 3, 64, 96)
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), expected)
    notes = {entry.key: json.loads(entry.value) for entry in onnx.load(str(done.file)).metadata_props}
    assert notes["joints"] == ["a", "b"]


def test_several_outputs_are_numbered(tmp_path: Path) -> None:
    network = StackedHourglass(3, stacks=2, channels=8, depth=1)
    done = export_onnx(network, (32, 32), tmp_path / "net.onnx", batch=1)
    assert done.outputs == ("heatmaps_0", "heatmaps_1")
    assert done.error is not None
    assert done.error < 1e-4


class Moody(nn.Module):
    """A random network, which no exported file can reproduce."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="differs from PyTorch"):
        export_onnx(Moody(), (8, 8), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_the_network_and_the_loggers_stay_as_they_were(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).double().train()
    logger = logging.getLogger("torch.onnx")
    before = {key: value.clone() for key, value in network.state_dict().items()}, logger.level
    logger.setLevel(logging.INFO)
    try:
        export_onnx(network, (8, 8), tmp_path / "net.onnx")
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(before[1])
    assert all(part.training for part in network.modules())
    for key, value in network.state_dict().items():
        assert value.dtype == before[0][key].dtype
        assert torch.equal(value, before[0][key])
