"""Deformable convolution: every tap of the kernel samples at a predicted offset (Dai et al., 2017; no modulation)."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from pose_core.errors import ConfigError
from pose_core.ops.deformable import _reference
from pose_core.ops.dispatch import choose, paths

__all__ = ["DeformPath", "check_path", "deform_conv"]

DeformPath = Literal["auto", "reference", "torchvision", "fast", "sampled", "mmcv"]


def deform_conv(x: Tensor, offset: Tensor, weight: Tensor, *, dilation: int = 1, path: DeformPath = "auto") -> Tensor:
    """Convolve 3×3 with stride 1 and the size kept, each tap moved by its own offset.

    ``x`` ``(N, C, H, W)``, ``offset`` ``(N, 18·G, H, W)`` with channels dy0, dx0, dy1, dx1, … of the taps in row order
    for each of G groups of channels, ``weight`` ``(M, C/g, 3, 3)`` → ``(N, M, H, W)``. Samples are bilinear; outside
    the image they are zero. The number of groups follows from the weight's shape.

    ``path`` "auto" follows POSE_OPS: the reference; or torchvision's operator on a GPU; and on a CPU what was measured
    as the fastest, by default "fast", and "sampled" where gradients are needed, unless POSE_OPS names torchvision's.
    Any other path is used as named; "mmcv", that package's operator, is never chosen automatically. Paths add up in
    different orders, so their results differ in the last bits.
    """
    _check(x, offset, weight)
    if path != "auto":
        check_path(path)
    if torch.onnx.is_in_onnx_export():
        return _onnx(x, offset, weight, dilation)
    if path == "mmcv":
        return _mmcv(x, offset, weight, dilation)
    if x.device.type == "cpu" and {x.dtype, offset.dtype, weight.dtype} & {torch.bfloat16, torch.float16}:
        # As torchvision does on a GPU: positions in half precision would be pixels apart.
        with torch.autocast("cpu", enabled=False):
            return deform_conv(x.float(), offset.float(), weight.float(), dilation=dilation, path=path).to(x.dtype)
    if path == "auto":
        path = _automatic(x, offset, weight)
    if path == "reference":
        return _reference.deform_conv(x, offset, weight, dilation)
    if path == "fast":
        from pose_core.ops.deformable import _fast

        return _fast.deform_conv(x, offset, weight, dilation)
    if path == "sampled":
        from pose_core.ops.deformable import _sampled

        return _sampled.deform_conv(x, offset, weight, dilation)
    from torchvision.ops import deform_conv2d

    output: Tensor = deform_conv2d(x, offset, weight, padding=dilation, dilation=dilation)
    return output


def _automatic(x: Tensor, offset: Tensor, weight: Tensor) -> DeformPath:
    """Return the chosen path if it takes these inputs, otherwise the fastest that does."""
    chosen = choose("deform_conv")
    if chosen == "reference":
        return "reference"
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return "torchvision"
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, offset, weight)):
        from pose_core.ops.deformable import _sampled

        # Training does not follow what was measured: a run resumed elsewhere would differ in the last bits.
        named = paths()["deform_conv"] == ("torchvision", "POSE_OPS")
        return "sampled" if 9 * x.numel() <= _sampled.MOST and not named else "torchvision"
    one_layout = offset.shape[1] // 18 in (1, x.shape[1] // weight.shape[1])
    return cast(DeformPath, chosen if one_layout or chosen != "fast" else "torchvision")


def _check(x: Tensor, offset: Tensor, weight: Tensor) -> None:
    """Raise an error if the shapes do not match."""
    if weight.shape[2:] != (3, 3) or x.shape[1] % weight.shape[1]:
        raise ConfigError(
            f"deform_conv: a weight of shape {tuple(weight.shape)} does not fit {x.shape[1]} channels, 3×3"
        )
    if offset.shape[1] % 18 or x.shape[1] % (offset.shape[1] // 18):
        raise ConfigError(
            f"deform_conv: {offset.shape[1]} offset channels are not 18 for each of some groups of {x.shape[1]}"
        )


def _onnx(x: Tensor, offset: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Return the ONNX standard's own operator, since opset 19."""
    groups, offset_groups = x.shape[1] // weight.shape[1], offset.shape[1] // 18
    return torch.onnx.ops.symbolic(
        "DeformConv",
        (x, weight, offset),
        {
            "dilations": [dilation, dilation],
            "group": groups,
            "kernel_shape": [3, 3],
            "offset_group": offset_groups,
            "pads": [dilation] * 4,
            "strides": [1, 1],
        },
        dtype=x.dtype,
        shape=(x.shape[0], weight.shape[0], x.shape[2], x.shape[3]),
        version=19,
    )


def check_path(path: str) -> DeformPath:
    """Return ``path`` if it names an operator whose package is installed; raise an error otherwise."""
    if path not in get_args(DeformPath):
        raise ConfigError(f"deform_conv path {path!r} does not exist; choose {', '.join(get_args(DeformPath))}")
    if path == "mmcv":
        _mmcv_operators()
    return cast(DeformPath, path)


def _mmcv_operators() -> Any:
    try:
        from mmcv import ops
    except ImportError as error:
        raise ConfigError(
            "the mmcv path of deform_conv needs mmcv with its operators, built against the installed PyTorch "
            f"({error}); every other path computes the same result"
        ) from None
    return ops


def _mmcv(x: Tensor, offset: Tensor, weight: Tensor, dilation: int) -> Tensor:
    groups, offset_groups = x.shape[1] // weight.shape[1], offset.shape[1] // 18
    output: Tensor = _mmcv_operators().deform_conv2d(x, offset, weight, 1, dilation, dilation, groups, offset_groups)
    return output
