"""Plain PyTorch, map by map where that is clearer."""

from __future__ import annotations

import torch
from torch import Tensor


def argmax(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    width = heatmaps.shape[-1]
    flat = heatmaps.flatten(2)
    scores, _ = flat.max(2)
    # max() does not specify which of several equal maxima it returns; the first is wanted.
    position = torch.arange(flat.shape[2], device=flat.device)
    first = torch.where(flat == scores[..., None], position, flat.shape[2]).amin(2)
    points = torch.stack([first % width, first // width], -1).to(heatmaps.dtype)
    return points * (scores > 0)[..., None], scores


def quarter_offset(heatmaps: Tensor, points: Tensor) -> Tensor:
    height, width = heatmaps.shape[-2:]
    moved = points.clone()
    for n in range(len(heatmaps)):
        for k in range(heatmaps.shape[1]):
            x, y = (int(torch.floor(value + 0.5)) for value in points[n, k])
            if 1 < x < width - 1 and 1 < y < height - 1:
                values = heatmaps[n, k]
                slope = torch.stack([values[y, x + 1] - values[y, x - 1], values[y + 1, x] - values[y - 1, x]])
                moved[n, k] += 0.25 * torch.sign(slope)
    return moved
