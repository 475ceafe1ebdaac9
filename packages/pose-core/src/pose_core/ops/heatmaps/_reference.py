"""One joint after the other, as the papers' text reads."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_heatmaps(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, quantise: bool, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    width, height = size
    radius = 3 * sigma
    count, number = weights.shape
    maps = torch.zeros(count, number, height, width, device=joints.device)
    kept = weights.float().clone()
    for n in range(count):
        for k in range(number):
            x = float(joints[n, k, 0]) * ratio[0]
            y = float(joints[n, k, 1]) * ratio[1]
            peak_x, peak_y = int(x + 0.5), int(y + 0.5)
            left, top = int(peak_x - radius), int(peak_y - radius)
            right, bottom = int(peak_x + radius + 1), int(peak_y + radius + 1)
            if left >= width or top >= height or right < 0 or bottom < 0:
                kept[n, k] = 0
                continue
            if not kept[n, k] > 0.5:
                continue
            if not quantise:
                columns = torch.arange(width, dtype=torch.float32, device=joints.device) - x
                rows = torch.arange(height, dtype=torch.float32, device=joints.device) - y
                maps[n, k] = torch.exp(-(columns**2 + rows[:, None] ** 2) / (2 * sigma**2))
                continue
            columns = torch.arange(max(left, 0), min(right, width), device=joints.device)
            rows = torch.arange(max(top, 0), min(bottom, height), device=joints.device)
            if not len(columns) or not len(rows):
                continue
            squares = (columns - peak_x).float() ** 2 + (rows - peak_y).float()[:, None] ** 2
            maps[n, k, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = torch.exp(-squares / (2 * sigma**2))
    return maps, kept
