"""Literal implementation, joint by joint."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_heatmaps(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantize: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    width, height = size
    maps = torch.zeros(*weights.shape, height, width, device=joints.device)
    _, kept = joint_centers(joints, weights, size, sigma, quantize, ratio)
    for n, k in torch.nonzero(kept > 0.5).tolist():
        x, y = _to_heatmap(joints[n, k], ratio)
        if not quantize:
            columns = torch.arange(width, dtype=torch.float32, device=joints.device) - x
            rows = torch.arange(height, dtype=torch.float32, device=joints.device) - y
            maps[n, k] = torch.exp(-(columns**2 + rows[:, None] ** 2) / (2 * sigma**2))
            continue
        peak_x, peak_y = int(x + 0.5), int(y + 0.5)
        left, top, right, bottom = _window(peak_x, peak_y, sigma)
        columns = torch.arange(max(left, 0), min(right, width), device=joints.device)
        rows = torch.arange(max(top, 0), min(bottom, height), device=joints.device)
        if not len(columns) or not len(rows):
            continue
        squares = (columns - peak_x).float() ** 2 + (rows - peak_y).float()[:, None] ** 2
        maps[n, k, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = torch.exp(-squares / (2 * sigma**2))
    return maps, kept


def joint_centers(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantize: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    width, height = size
    centers = torch.zeros(*weights.shape, 2, device=joints.device)
    kept = weights.float().clone()
    for n in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            x, y = _to_heatmap(joints[n, k], ratio)
            peak_x, peak_y = int(x + 0.5), int(y + 0.5)
            centers[n, k, 0], centers[n, k, 1] = (peak_x, peak_y) if quantize else (x, y)
            left, top, right, bottom = _window(peak_x, peak_y, sigma)
            if left >= width or top >= height or right < 0 or bottom < 0:
                kept[n, k] = 0
    return centers, kept


def _to_heatmap(joint: Tensor, ratio: tuple[float, float]) -> tuple[float, float]:
    """Convert one joint from input pixels to heatmap pixels."""
    return float(joint[0]) * ratio[0], float(joint[1]) * ratio[1]


def _window(peak_x: int, peak_y: int, sigma: float) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom (exclusive) of a Gaussian cut at ±3σ."""
    radius = 3 * sigma
    return int(peak_x - radius), int(peak_y - radius), int(peak_x + radius + 1), int(peak_y + radius + 1)
