"""Whole networks as ONNX files, deformable convolution included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pose_core.inference.export import export_onnx
from pose_dekr.models import bottomup_hrnet, dekr_hrnet

SMALL: dict[str, Any] = {"width": 4, "blocks": 1, "modules": (1, 1, 1)}


@pytest.mark.parametrize(
    ("builder", "options", "deformable"),
    [(dekr_hrnet, {}, 2), (bottomup_hrnet, {}, 8), (bottomup_hrnet, {"higher": True}, 8)],
    ids=["dekr", "bottomup", "higher"],
)
def test_an_exported_network_has_the_same_outputs(builder: Any, options: Any, deformable: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    torch.manual_seed(0)
    network = builder(3, **options, **SMALL)
    for module in network.modules():
        # Initially every tap samples the center, which would test little.
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.3 / module.weight[0].numel() ** 0.5)
    exported = export_onnx(network, (128, 64), tmp_path / "network.onnx")
    print(exported)
    assert exported.error is not None
    assert exported.error < 1e-4
    assert exported.outputs == network(torch.zeros(1, 3, 64, 128))._fields
    nodes = [node.op_type for node in onnx.load(str(exported.file)).graph.node]
    assert nodes.count("DeformConv") == deformable
