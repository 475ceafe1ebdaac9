"""All joints at once: a Gaussian is the product of one along x and one along y."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_heatmaps(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantise: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    scaled = joints.float() * torch.tensor(ratio, device=joints.device)
    peaks = torch.trunc(scaled + 0.5)
    radius = 3 * sigma
    limits = torch.tensor(size, device=joints.device)
    # trunc() is what int() does to the window's corners when sigma is no whole number.
    outside = (torch.trunc(peaks - radius) >= limits) | (torch.trunc(peaks + radius + 1) < 0)
    kept = weights.float() * ~outside.any(-1)
    drawn = (kept > 0.5).float()
    centers = peaks if quantise else scaled
    along_x = _line(centers[..., 0], size[0], sigma, radius if quantise else None)
    along_y = _line(centers[..., 1], size[1], sigma, radius if quantise else None) * drawn[..., None]
    return along_y[..., :, None] * along_x[..., None, :], kept


def _line(centers: Tensor, length: int, sigma: float, radius: float | None) -> Tensor:
    """Gaussians ``(N, K, length)`` along one axis, cut at ±radius."""
    distance = torch.arange(length, device=centers.device) - centers[..., None]
    line = torch.exp(distance.square() * (-0.5 / sigma**2))
    if radius is None:
        return line
    low, high = torch.trunc(centers - radius), torch.trunc(centers + radius + 1)
    position = torch.arange(length, device=centers.device)
    return line * ((position >= low[..., None]) & (position < high[..., None]))
