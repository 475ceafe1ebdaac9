"""Targets for heatmap networks: one Gaussian per joint."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops.dispatch import choose
from pose_core.ops.heatmaps import _fast, _reference

__all__ = ["gaussian_heatmaps", "joint_centers"]


def gaussian_heatmaps(
    joints: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: float,
    *,
    quantize: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Draw an unnormalized Gaussian of peak 1 for every joint.

    ``joints`` ``(N, K, 2)`` in input pixels, ``weights`` ``(N, K)``, ``size`` (w, h) of the maps, ``ratio`` heatmap
    pixels per input pixel along x and y. Return maps ``(N, K, h, w)`` and weights ``(N, K)``, both float32; a joint
    whose ±3σ window lies outside the map gets weight 0.

    ``quantize`` puts the peak on a pixel, ``trunc(x·ratio + ½)``, and cuts the Gaussian at ±3σ, as published.
    Without it the peak lies exactly at the joint and the Gaussian is not cut.
    """
    path = choose("gaussian_heatmaps")
    if path == "reference":
        return _reference.gaussian_heatmaps(joints, weights, size, sigma, quantize, ratio)
    return _fast.gaussian_heatmaps(joints, weights, size, sigma, quantize, ratio, in_bands=path == "bands")


def joint_centers(
    joints: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: float,
    *,
    quantize: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Return the peaks of :func:`gaussian_heatmaps`, ``(N, K, 2)`` in heatmap pixels, and its weights ``(N, K)``."""
    center = _reference.joint_centers if choose("gaussian_heatmaps") == "reference" else _fast.joint_centers
    return center(joints, weights, size, sigma, quantize, ratio)
