"""Heatmaps to keypoints: argmax, soft-argmax or DARK, with the published quarter offset."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pose_core.ops.constants import constant
from pose_core.ops.decoding import _fast, _reference
from pose_core.ops.dispatch import choose, is_exporting, uses_triton
from pose_core.ops.flipping import fuse_flip

__all__ = ["Decoding", "decode_flipped", "decode_heatmaps", "peak_accuracy", "soft_argmax"]

Decoding = Literal["argmax", "soft_argmax", "dark"]


def decode_heatmaps(
    heatmaps: Tensor, *, method: Decoding = "argmax", quarter: bool = True, beta: float = 160.0, sigma: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Return keypoints ``(N, K, 2)`` in heatmap pixels and scores ``(N, K)`` of maps ``(N, K, H, W)``.

    argmax
        The first maximum; (0, 0) where no value is positive. The score is the maximum.
    soft_argmax
        The mean position under softmax(β·map); the score is the map's value at the rounded position, not the maximum.
    dark
        argmax, then one Newton step on the logarithm of the blurred map (Zhang et al., 2020). ``sigma`` is that of the
        targets.

    ``quarter`` then moves a quarter of a pixel towards the higher neighbor on each axis, also after soft-argmax, as
    published. DARK ignores it.
    """
    if method == "argmax" and uses_triton("decode_heatmaps", heatmaps):
        from pose_core.ops.decoding import _triton

        return _triton.decode(heatmaps, None, None, shift=False, quarter=quarter)
    path = choose("decode_heatmaps")
    # An exported graph is PyTorch's fast path: the reference loops over maps.
    fast, in_numpy = path != "reference" or is_exporting(), path == "numpy"
    if method == "argmax" and quarter and fast:
        return _fast.argmax_quarter(heatmaps, in_numpy=in_numpy)
    if method == "soft_argmax":
        points = soft_argmax(heatmaps, beta)
        scores = _value_at(heatmaps, points)
    else:
        points, scores = _fast.argmax(heatmaps, in_numpy=in_numpy) if fast else _reference.argmax(heatmaps)
    if method == "dark":
        return _newton_step(heatmaps, points, sigma), scores
    if not quarter:
        return points, scores
    offset = _fast.quarter_offset if fast else _reference.quarter_offset
    return offset(heatmaps, points), scores


def decode_flipped(
    plain: Tensor,
    mirrored: Tensor,
    flip_order: Tensor,
    *,
    shift: bool,
    method: Decoding = "argmax",
    quarter: bool = True,
    beta: float = 160.0,
    sigma: float = 2.0,
) -> tuple[Tensor, Tensor]:
    """Return :func:`decode_heatmaps` of :func:`fuse_flip`; on a GPU in one pass that stores no fused map."""
    if method == "argmax" and uses_triton("decode_heatmaps", plain):
        from pose_core.ops.decoding import _triton

        return _triton.decode(plain, mirrored, flip_order, shift=shift, quarter=quarter)
    fused = fuse_flip(plain, mirrored, flip_order, shift=shift)
    return decode_heatmaps(fused, method=method, quarter=quarter, beta=beta, sigma=sigma)


def soft_argmax(heatmaps: Tensor, beta: float = 160.0) -> Tensor:
    """Return the mean position ``(N, K, 2)`` under softmax(β·map); differentiable."""
    height, width = heatmaps.shape[-2:]
    shares = (heatmaps * beta).flatten(2).softmax(2).view_as(heatmaps)
    columns = torch.arange(width, device=heatmaps.device, dtype=heatmaps.dtype)
    rows = torch.arange(height, device=heatmaps.device, dtype=heatmaps.dtype)
    return torch.stack([(shares.sum(2) * columns).sum(-1), (shares.sum(3) * rows).sum(-1)], -1)


def peak_accuracy(heatmaps: Tensor, peaks: Tensor) -> Tensor:
    """Return the share of joints whose maximum lies within half a tenth of the map from ``peaks`` ``(N, K, 2)``.

    ``heatmaps`` are ``(N, K, H, W)``. A joint counts only where its peak is off the first two rows and columns, as
    published. A number for the log: it has no gradient.
    """
    points, _ = decode_heatmaps(heatmaps.detach().float(), quarter=False)
    height, width = heatmaps.shape[-2:]
    distance = ((points - peaks) / constant((width / 10, height / 10), points.device)).norm(dim=-1)
    counted = (peaks > 1).all(-1)
    return ((distance < 0.5) & counted).sum() / counted.sum().clamp_min(1)


def _value_at(heatmaps: Tensor, points: Tensor) -> Tensor:
    """Return the maps' values ``(N, K)`` at the pixels next to ``points``."""
    height, width = heatmaps.shape[-2:]
    x = points[..., 0].round().long().clamp(0, width - 1)
    y = points[..., 1].round().long().clamp(0, height - 1)
    return heatmaps.flatten(2).gather(2, (y * width + x)[..., None])[..., 0]


def _newton_step(heatmaps: Tensor, points: Tensor, sigma: float) -> Tensor:
    """Move each peak to the maximum of the second-order Taylor expansion of the blurred map's logarithm."""
    height, width = heatmaps.shape[-2:]
    maps = _blur_keeping_peak(heatmaps.float(), sigma).clamp_min(1e-10).log()
    x, y = points[..., 0].long(), points[..., 1].long()
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    cx, cy = x.clamp(2, max(width - 3, 2)), y.clamp(2, max(height - 3, 2))

    def at(dx: int, dy: int) -> Tensor:
        index = (cy + dy) * width + cx + dx
        return maps.flatten(2).gather(2, index[..., None])[..., 0]

    dx, dy = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    dxx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    dyy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    dxy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = dxx * dyy - dxy * dxy
    usable = inside & (determinant.abs() > 1e-12)
    safe = torch.where(usable, determinant, 1.0)
    step = torch.stack([(dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe], -1)
    return points + torch.where(usable[..., None], step, 0.0).to(points.dtype)


def _blur_keeping_peak(heatmaps: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of the targets' width, rescaled so that each map keeps its maximum."""
    radius = int(3 * sigma + 0.5)
    line = torch.arange(-radius, radius + 1, device=heatmaps.device, dtype=heatmaps.dtype)
    kernel = torch.exp(-line.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    count, number, height, width = heatmaps.shape
    maps = heatmaps.reshape(count * number, 1, height, width)
    maps = torch.nn.functional.conv2d(maps, kernel.view(1, 1, 1, -1), padding=(0, radius))
    maps = torch.nn.functional.conv2d(maps, kernel.view(1, 1, -1, 1), padding=(radius, 0)).view_as(heatmaps)
    peak_before = heatmaps.amax((2, 3), keepdim=True)
    peak_after = maps.amax((2, 3), keepdim=True)
    return maps * (peak_before / peak_after.clamp_min(1e-12))
