"""Losses of heatmaps: weighted squared error, against targets or against joints, and hard-keypoint mining."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_core.ops.constants import constant
from pose_core.ops.decoding import decode_heatmaps, peak_accuracy
from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.heatmaps import gaussian_heatmaps, joint_centers
from pose_core.ops.losses import _fast, _reference

__all__ = ["heatmap_loss", "heatmap_loss_and_accuracy", "mse_loss", "ohkm_loss"]


def mse_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return (1/K) Σ_k ½·mean over batch and pixels of (w·(p − t))², a scalar.

    ``predicted`` and ``targets`` ``(N, K, H, W)``, ``weights`` ``(N, K)`` or none for all ones.
    """
    compare = _fast.mse_loss if choose("heatmap_loss") == "fast" else _reference.mse_loss
    return compare(predicted, targets, weights)


def heatmap_loss(
    predicted: Tensor,
    joints: Tensor,
    weights: Tensor,
    sigma: float,
    *,
    quantize: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Return :func:`mse_loss` against the Gaussians of ``joints`` ``(N, K, 2)``, in input pixels.

    The other arguments are those of :func:`gaussian_heatmaps`. On a GPU the Gaussians are never stored.
    """
    size = (predicted.shape[-1], predicted.shape[-2])
    if uses_triton("heatmap_loss", predicted):
        from pose_core.ops.losses import _triton

        centers, kept = joint_centers(joints, weights, size, sigma, quantize=quantize, ratio=ratio)
        return _triton.loss_at_centers(predicted, centers, kept, sigma, cut=quantize)
    targets, kept = gaussian_heatmaps(joints, weights, size, sigma, quantize=quantize, ratio=ratio)
    return mse_loss(predicted, targets.to(predicted.dtype), kept.to(predicted.dtype))


def heatmap_loss_and_accuracy(
    stacks: Sequence[Tensor],
    joints: Tensor,
    weights: Tensor,
    sigma: float,
    *,
    quantize: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Return :func:`heatmap_loss` summed over ``stacks``, and the last one's :func:`peak_accuracy` for the log.

    ``stacks`` are the maps ``(N, K, H, W)`` of each stack, first stack first. The Gaussians are drawn once for both; on
    a GPU they are never stored.
    """
    last = stacks[-1]
    size = (last.shape[-1], last.shape[-2])
    if uses_triton("heatmap_loss", last):
        losses = [heatmap_loss(maps, joints, weights, sigma, quantize=quantize, ratio=ratio) for maps in stacks]
        centers, kept = joint_centers(joints, weights, size, sigma, quantize=quantize, ratio=ratio)
        # The peaks of the drawn targets; joints that are not drawn have none and are not counted.
        limits = constant(size, joints.device) - 1
        peaks = torch.minimum(centers.round().clamp_min(0), limits) * (kept > 0.5)[..., None]
        return torch.stack(losses).sum(), peak_accuracy(last, peaks)
    targets, kept = gaussian_heatmaps(joints, weights, size, sigma, quantize=quantize, ratio=ratio)
    loss = torch.zeros((), device=last.device, dtype=last.dtype)
    for maps in stacks:
        loss = loss + mse_loss(maps, targets.to(maps.dtype), kept.to(maps.dtype))
    return loss, peak_accuracy(last, decode_heatmaps(targets, quarter=False)[0])


def ohkm_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None, topk: int) -> Tensor:
    """Return the squared error of each sample's ``topk`` worst joints (online hard keypoint mining), a scalar.

    ``predicted`` and ``targets`` ``(N, K, H, W)``, ``weights`` ``(N, K)`` or none for all ones.
    """
    errors = 0.5 * (predicted - targets).square().mean((2, 3))
    if weights is not None:
        errors = errors * weights.square()
    return errors.topk(topk, dim=1).values.mean()
