"""All joints in one call.

On a CPU, published targets are windows of one template: every map shows the same patch at another position. On other
devices, and for sub-pixel peaks, a Gaussian is the product of one along x and one along y.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pose_core.ops.constants import constant

FAR = 4096
"""A peak far inside any map: the window's ends round there as in the middle of a map."""


def gaussian_heatmaps(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantize: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    centers, kept = joint_centers(joints, weights, size, sigma, quantize, ratio)
    drawn = kept > 0.5
    if quantize and joints.device.type == "cpu":
        return _windows(centers, drawn, size, sigma), kept
    radius = 3 * sigma if quantize else None
    along_x = _line(centers[..., 0], size[0], sigma, radius)
    along_y = _line(centers[..., 1], size[1], sigma, radius) * drawn[..., None]
    return along_y[..., :, None] * along_x[..., None, :], kept


def joint_centers(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantize: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    scaled = joints.float() * constant(ratio, joints.device)
    peaks = torch.trunc(scaled + 0.5)
    limits = constant(size, joints.device)
    # trunc() matches int() on the window's corners when sigma is not an integer.
    outside = (torch.trunc(peaks - 3 * sigma) >= limits) | (torch.trunc(peaks + 3 * sigma + 1) < 0)
    return peaks if quantize else scaled, weights.float() * ~outside.any(-1)


def _windows(peaks: Tensor, drawn: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Return maps ``(N, K, H, W)``: for each peak, the window of the template that puts the patch there."""
    width, height = size
    template, middle = _template(width, height, sigma)
    windows = np.lib.stride_tricks.sliding_window_view(template, (height, width))
    # The first window is empty.
    corner = np.where(drawn[..., None].numpy(), middle - peaks.numpy().astype(np.int64)[..., ::-1], 0)
    return torch.from_numpy(windows[corner[..., 0], corner[..., 1]])


@lru_cache(maxsize=8)
def _template(width: int, height: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a field with one patch, empty and wide enough for every window, and the patch's peak (row, column)."""
    low = int(FAR - 3 * sigma) - FAR
    offsets = np.arange(low, int(FAR + 3 * sigma + 1) - FAR, dtype=np.float32)
    patch = np.exp(-(offsets**2 + offsets[:, None] ** 2) / (2 * sigma**2))
    middle = np.array([height - low, width - low])
    field = np.zeros((2 * height + 2 * len(offsets), 2 * width + 2 * len(offsets)), np.float32)
    top, left = height, width
    field[top : top + len(offsets), left : left + len(offsets)] = patch
    return field, middle


def _line(centers: Tensor, length: int, sigma: float, radius: float | None) -> Tensor:
    """Return Gaussians ``(N, K, length)`` along one axis, cut at ±radius."""
    position = torch.arange(length, device=centers.device)
    line = torch.exp((position - centers[..., None]).square() * (-0.5 / sigma**2))
    if radius is None:
        return line
    low, high = torch.trunc(centers - radius), torch.trunc(centers + radius + 1)
    return line * ((position >= low[..., None]) & (position < high[..., None]))
