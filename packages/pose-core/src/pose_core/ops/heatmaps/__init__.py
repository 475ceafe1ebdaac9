"""Targets for heatmap networks: one Gaussian per joint."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops.dispatch import choose
from pose_core.ops.heatmaps import _fast, _reference


def gaussian_heatmaps(
    joints: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: float,
    *,
    quantise: bool = True,
    ratio: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Unnormalised Gaussians of peak 1.

    ``joints`` ``(N, K, 2)`` in input pixels, ``weights`` ``(N, K)``, ``size`` (w, h) of the maps, ``ratio`` heatmap
    pixels per input pixel along x and y. Returns maps ``(N, K, h, w)`` and weights ``(N, K)``, both float32; a joint
    whose ±3σ window lies outside the map gets weight 0.

    ``quantise`` puts the peak on a pixel, ``trunc(x·ratio + ½)``, and cuts the Gaussian at ±3σ, as published.
    Without it the peak is where the joint is and nothing is cut.
    """
    path = _fast if choose("gaussian_heatmaps") == "fast" else _reference
    return path.gaussian_heatmaps(joints, weights, size, sigma, quantise, ratio)
