"""Decoding of three maps per joint."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.offsets import BLUR_KERNEL, RADIUS, decode_offsets, fuse_flipped_offsets, smooth_heatmaps

SIZE = (48, 64)


def maps_of(joints: torch.Tensor) -> torch.Tensor:
    """Return ideal maps ``(N, 3·K, H, W)`` of joints ``(N, K, 2)``: a disk, and the ways to the joint."""
    width, height = SIZE
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = joints[..., None, None] - torch.stack([x, y]).double()
    unit = RADIUS * height
    disk = ((away.square().sum(2) < unit**2) * 1.0)[:, :, None]
    return torch.cat([disk, away / unit], 2).flatten(1, 2)


def test_joints_are_found_exactly() -> None:
    joints = torch.tensor([[[10.3, 20.6], [40.25, 7.0]], [[24.0, 50.5], [30.9, 33.1]]], dtype=torch.float64)
    points, scores = decode_offsets(maps_of(joints))
    assert torch.allclose(points, joints, atol=1e-9)
    assert scores.shape == (2, 2)
    assert bool(((scores > 0) & (scores <= 1)).all())


def test_heatmaps_are_smoothed_as_opencv_does() -> None:
    maps = np.random.default_rng(0).random((1, 3, 64, 48))
    expected = [cv2.GaussianBlur(one, (BLUR_KERNEL, BLUR_KERNEL), 0) for one in maps[0]]
    assert np.allclose(smooth_heatmaps(torch.from_numpy(maps))[0], expected, atol=1e-9)


def test_a_mirror_image_s_maps_come_back() -> None:
    joints = torch.tensor([[[10.3, 20.6], [40.25, 7.0], [24.0, 50.5]]], dtype=torch.float64)
    order = torch.tensor([1, 0, 2])
    mirrored = joints[:, order].clone()
    mirrored[..., 0] = SIZE[0] - 1 - mirrored[..., 0]
    fused = fuse_flipped_offsets(maps_of(joints), maps_of(mirrored), order)
    assert torch.allclose(fused, maps_of(joints), atol=1e-9)


def test_the_codec_decodes_and_refuses_to_train() -> None:
    codec = HeatmapCodec((192, 256), SIZE, convention="unbiased", decode_method="offset")
    joints = torch.tensor([[[10.3, 20.6], [40.25, 7.0]]])
    points, _ = codec.decode(maps_of(joints.double()))
    expected = joints * torch.tensor([191 / 47, 255 / 63])
    assert torch.allclose(points, expected, atol=1e-3)
    order = torch.tensor([1, 0])
    mirrored = joints[:, order] * torch.tensor([-1.0, 1.0]) + torch.tensor([47.0, 0.0])
    points, _ = codec.decode_flipped(maps_of(joints.double()), maps_of(mirrored.double()), order, shift=False)
    assert torch.allclose(points, expected, atol=1e-3)
    with pytest.raises(ConfigError, match="only predicts with trained weights"):
        codec.loss_and_accuracy(torch.zeros(1, 6, 64, 48), torch.zeros(1, 2, 3))


class Decoder(nn.Module):
    def forward(self, plain: torch.Tensor, mirrored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codec = HeatmapCodec((192, 256), SIZE, convention="unbiased", decode_method="offset")
        return codec.decode_flipped(plain, mirrored, torch.tensor([1, 0]), shift=False)


def test_decoding_is_exported_with_any_batch(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    example = (torch.rand(2, 6, 64, 48), torch.rand(2, 6, 64, 48))
    axes = ({0: "batch"}, {0: "batch"})
    program = torch.onnx.export(Decoder().eval(), example, dynamo=True, dynamic_shapes=axes, verbose=False)
    assert program is not None
    program.save(tmp_path / "decoder.onnx")
    session = runtime.InferenceSession(tmp_path / "decoder.onnx")
    maps = torch.rand(3, 6, 64, 48), torch.rand(3, 6, 64, 48)
    names = [entry.name for entry in session.get_inputs()]
    outputs = session.run(None, {name: value.numpy() for name, value in zip(names, maps, strict=True)})
    for exported, own in zip(outputs, Decoder()(*maps), strict=True):
        assert np.abs(exported - own.numpy()).max() < 1e-4
