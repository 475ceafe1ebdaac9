"""Whole networks as ONNX files, deformable convolution included."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError
from pose_core.inference.bundle import write_bundle
from pose_core.inference.export import export_onnx
from pose_core.inference.pipelines import build_pipeline, describe
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import bare_network
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_dekr.config import DekrConfig
from pose_dekr.models import bottomup_hrnet, dekr_hrnet
from pose_dekr.predictor import DekrPredictor

SMALL: dict[str, Any] = {"width": 4, "blocks": 1, "modules": (1, 1, 1)}


@pytest.mark.parametrize(
    ("builder", "options", "deformable"),
    [(dekr_hrnet, {}, 2), (bottomup_hrnet, {}, 8), (bottomup_hrnet, {"higher": True}, 8)],
    ids=["dekr", "bottomup", "higher"],
)
def test_an_exported_network_has_the_same_outputs(builder: Any, options: Any, deformable: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    torch.manual_seed(0)
    network = builder(3, **options, **SMALL).eval()
    for module in network.modules():
        # Initially every tap samples the center, which would test little.
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.3 / module.weight[0].numel() ** 0.5)
    exported = export_onnx(network, (128, 64), tmp_path / "network.onnx", multiple=64)
    print(exported)
    assert exported.error is not None
    assert exported.error < 1e-4
    assert exported.outputs == network(torch.zeros(1, 3, 64, 128))._fields
    nodes = [node.op_type for node in onnx.load(str(exported.file)).graph.node]
    assert nodes.count("DeformConv") == deformable
    images = torch.randn(1, 3, 192, 128)
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(images)
    for ours, theirs in zip(expected, session.run(None, {"images": images.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=1e-3, atol=float(1e-4 * ours.abs().max()))


def small_dekr(*settings: str) -> tuple[DekrConfig, nn.Module]:
    """Return an experiment of a small DEKR whose untrained network finds several people in noise."""
    options = 'model.options={"width": 8, "blocks": 1, "modules": [1, 1, 1]}'
    config = load_config(
        "pose-dekr/coco_dekr_w32_512",
        ["model.input_size=[128,128]", "test.max_people=30", "test.nms=0.5", "test.nms_joints=4", options, *settings],
    )
    assert isinstance(config, DekrConfig)
    torch.manual_seed(0)
    network = bare_network(config)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.6 / module.weight[0].numel() ** 0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()(torch.randn(4, 3, 128, 128))
    return config, network.eval()


@pytest.mark.slow
def test_a_bundle_predicts_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    config, network = small_dekr()
    skeleton = SKELETONS["coco17"]
    scorer = DekrPredictor(network, config, skeleton, torch.device("cpu"))
    pipeline = scorer.pipeline(network, flip=True)
    write_bundle(pipeline, (128, 128), skeleton, tmp_path / "bundle", notes=describe(network, config, pipeline))
    spec = importlib.util.spec_from_file_location("dekr_bundle", tmp_path / "bundle" / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    counts = set()
    for width, height in ((150, 100), (90, 130), (128, 128)):
        image = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        poses = Predictor(scorer)(image)
        found = script.predict(image)
        counts.add(len(poses))
        # Another order of additions in the network moves joints by some ten-thousandths of a pixel.
        np.testing.assert_allclose(found.keypoints, poses.keypoints, atol=1e-3, rtol=0)
        np.testing.assert_allclose(found.scores, poses.scores, atol=1e-4)
        np.testing.assert_allclose(found.pose_scores, poses.pose_scores, atol=1e-4)
    assert 2 < min(counts) < 30, "no duplicate was suppressed"
    with pytest.raises(ValueError, match="finds people by itself"):
        script.predict(image, [(0, 0, 10, 10)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["test.match_heatmap=true"], "Gaussian fits"),
        (["test.scales=[0.5,1]"], r"export one scale; set test.scales=\[1\]"),
    ],
)
def test_what_no_file_can_do_is_refused(settings: list[str], message: str) -> None:
    config, network = small_dekr(*settings)
    with pytest.raises(ConfigError, match=message):
        build_pipeline(network, config)
