"""Deformable convolution: every path against the plain definition, gradients, ONNX."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError
from pose_core.models.deform_conv import DeformConv
from pose_core.ops import deform_conv


def case(channels: int = 6, groups: int = 1, offset_groups: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    make = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"generator": make, "dtype": torch.float64}
    # Offsets reach beyond the image on every side.
    return (
        torch.randn(2, channels, 7, 9, **options),
        4 * torch.randn(2, 18 * offset_groups, 7, 9, **options),
        torch.randn(2 * groups, channels // groups, 3, 3, **options),
    )


@pytest.mark.parametrize("path", ["torchvision", "fast", "sampled"])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize(("groups", "offset_groups"), [(1, 1), (3, 3), (3, 1)])
def test_paths_agree_with_the_reference(path: Any, dilation: int, groups: int, offset_groups: int) -> None:
    x, offset, weight = case(6, groups, offset_groups)
    expected = deform_conv(x, offset, weight, dilation=dilation, path="reference")
    found = deform_conv(x, offset, weight, dilation=dilation, path=path)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_whole_offsets_on_and_beyond_the_border() -> None:
    x, _, weight = case()
    for value in (-12.0, -1.0, 0.0, 1.0, 30.0):
        offset = torch.full((2, 18, 7, 9), value, dtype=torch.float64)
        expected = deform_conv(x, offset, weight, path="torchvision")
        for path in ("reference", "fast", "sampled"):
            assert torch.allclose(deform_conv(x, offset, weight, path=path), expected, rtol=0, atol=1e-12)


def test_no_offset_is_a_plain_convolution() -> None:
    x, offset, weight = case()
    plain = nn.functional.conv2d(x, weight, padding=2, dilation=2)
    assert torch.allclose(deform_conv(x, offset * 0, weight, dilation=2, path="fast"), plain, rtol=0, atol=1e-12)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    from pose_core.ops.deformable import _fast

    make = torch.Generator().manual_seed(5)
    x, offset = torch.randn(1, 4, 20, 21, generator=make), torch.randn(1, 18, 20, 21, generator=make)
    weight = torch.randn(3, 4, 3, 3, generator=make)
    whole = deform_conv(x, offset, weight, path="fast")
    monkeypatch.setattr(_fast, "CHUNK", 1)
    assert torch.allclose(deform_conv(x, offset, weight, path="fast"), whole, atol=1e-6)


def test_gradients_of_paths_agree() -> None:
    found = []
    for path in ("torchvision", "sampled"):
        inputs = [t.requires_grad_() for t in case(6, 3, 3)]
        deform_conv(*inputs, dilation=2, path=path).square().sum().backward()  # type: ignore[arg-type]
        found.append([t.grad for t in inputs])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("path", ["reference", "auto"])
def test_gradients(path: Any) -> None:
    inputs = tuple(t.requires_grad_() for t in (t[:1, ..., :4, :4] if t.dim() == 4 else t for t in case(2)[:2]))
    weight = case(2)[2].requires_grad_()
    # Away from whole pixels, where bilinear sampling has a kink.
    assert torch.autograd.gradcheck(lambda x, o, w: deform_conv(x, o, w, path=path), (*inputs, weight))


def test_automatic_choice_keeps_gradients() -> None:
    x, offset, weight = case()
    layer = DeformConv(6, 2).double()
    assert layer(x, offset).requires_grad
    with torch.no_grad():
        assert not layer(x, offset).requires_grad
        assert torch.allclose(deform_conv(x, offset, weight), deform_conv(x, offset, weight, path="reference"))


@pytest.mark.parametrize("gradients", [False, True])
def test_half_precision_keeps_the_positions(gradients: bool) -> None:
    x, offset, weight = (tensor.float().requires_grad_(gradients) for tensor in case())
    exact = deform_conv(x.bfloat16().float(), offset, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = deform_conv(x.bfloat16(), offset, weight)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), exact, atol=0.05, rtol=0.01)
    if gradients:
        found.float().sum().backward()
        assert offset.grad is not None


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, offset, weight = case()
    with pytest.raises(ConfigError, match="17 offset channels"):
        deform_conv(x, offset[:, :17], weight)
    with pytest.raises(ConfigError, match="choose auto, reference"):
        deform_conv(x, offset, weight, path="cuda")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)
    with pytest.raises(ConfigError, match="needs mmcv with its operators"):
        deform_conv(x, offset, weight, path="mmcv")


def test_mmcv_agrees_where_it_is_installed() -> None:
    reason = "mmcv with its operators is not installed: no wheel fits current PyTorch, see README.md of pose-dekr"
    pytest.importorskip("mmcv.ops", reason=reason, exc_type=ImportError)
    x, offset, weight = case()
    expected = deform_conv(x, offset, weight, dilation=2, path="reference")
    assert torch.allclose(deform_conv(x, offset, weight, dilation=2, path="mmcv"), expected, rtol=0, atol=1e-6)


def test_mmcv_is_called_with_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace mmcv by a stub with the signature of mmcv 2.2 that calls torchvision, since mmcv is hard to install."""
    from torchvision.ops import deform_conv2d as torchvision_operator

    def deform_conv2d(  # type: ignore[no-untyped-def]
        x, offset, weight, stride=1, padding=0, dilation=1, groups=1, deform_groups=1, bias=False, im2col_step=32
    ):
        assert groups * weight.shape[1] == x.shape[1]
        assert deform_groups * 18 == offset.shape[1]
        return torchvision_operator(x, offset, weight, stride=stride, padding=padding, dilation=dilation)

    operators = ModuleType("mmcv.ops")
    operators.deform_conv2d = deform_conv2d  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmcv", ModuleType("mmcv"))
    monkeypatch.setitem(sys.modules, "mmcv.ops", operators)
    x, offset, weight = case(6, 3, 3)
    expected = deform_conv(x, offset, weight, dilation=2, path="reference")
    assert torch.allclose(deform_conv(x, offset, weight, dilation=2, path="mmcv"), expected, rtol=0, atol=1e-12)


class Small(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.offsets = nn.Conv2d(3, 18 * groups, 3, padding=1)
        self.up = nn.Conv2d(3, 4 * groups, 1)
        self.deform = DeformConv(4 * groups, 2 * groups, groups=groups, dilation=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.deform(self.up(x), 3 * self.offsets(x))


@pytest.mark.parametrize("groups", [1, 3])
def test_export_uses_the_standard_operator(groups: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from pose_core.inference.export import export_onnx

    torch.manual_seed(0)
    exported = export_onnx(Small(groups), (24, 16), tmp_path / "small.onnx")
    assert exported.error is not None
    assert exported.error < 1e-5
    assert "DeformConv" in {node.op_type for node in onnx.load(str(exported.file)).graph.node}
