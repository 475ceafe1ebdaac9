"""Losses of heatmaps: weighted squared error, against targets or against joints, and hard-keypoint mining."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.heatmaps import gaussian_heatmaps
from pose_core.ops.heatmaps._fast import locate
from pose_core.ops.losses import _fast, _reference


def mse_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """(1/K) Σ_k ½·mean over batch and pixels of (w·(p − t))².

    ``predicted`` and ``targets`` ``(N, K, H, W)``, ``weights`` ``(N, K)`` or none for all ones. Returns a scalar.
    """
    path = _fast if choose("heatmap_loss") == "fast" else _reference
    return path.mse_loss(predicted, targets, weights)


def heatmap_loss(
    predicted: Tensor,
    joints: Tensor,
    weights: Tensor,
    sigma: float,
    *,
    quantise: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """:func:`mse_loss` against the Gaussians of ``joints`` ``(N, K, 2)``, in input pixels.

    On a GPU the Gaussians are never stored.
    """
    size = (predicted.shape[-1], predicted.shape[-2])
    if uses_triton("heatmap_loss", predicted):
        from pose_core.ops.losses import _triton

        centers, kept = locate(joints, weights, size, sigma, quantise, ratio)
        return _triton.loss_of_places(predicted, centers, kept, sigma, cut=quantise)
    targets, kept = gaussian_heatmaps(joints, weights, size, sigma, quantise=quantise, ratio=ratio)
    return mse_loss(predicted, targets.to(predicted.dtype), kept.to(predicted.dtype))


def ohkm_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None, topk: int) -> Tensor:
    """Squared error of each sample's ``topk`` worst joints (online hard keypoint mining). Returns a scalar."""
    errors = 0.5 * (predicted - targets).square().mean((2, 3))
    if weights is not None:
        errors = errors * weights.square()
    return errors.topk(topk, dim=1).values.mean()
