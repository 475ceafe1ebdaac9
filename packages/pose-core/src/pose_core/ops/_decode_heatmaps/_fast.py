"""All maps at once; on the CPU through numpy, whose flat argmax is several times faster than torch's."""

from __future__ import annotations

import torch
from torch import Tensor


def argmax(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    width = heatmaps.shape[-1]
    flat = heatmaps.flatten(2)
    if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64):
        index = torch.from_numpy(flat.detach().numpy().argmax(2))
    else:
        index = flat.argmax(2)
    scores = flat.gather(2, index[..., None])[..., 0]
    points = torch.stack([index % width, index // width], -1).to(heatmaps.dtype)
    return points * (scores > 0)[..., None], scores


def quarter_offset(heatmaps: Tensor, points: Tensor) -> Tensor:
    height, width = heatmaps.shape[-2:]
    flat = heatmaps.flatten(2)
    x, y = (points + 0.5).floor().long().unbind(-1)
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    here = torch.where(inside, y * width + x, width + 1)
    around = flat.gather(2, torch.stack([here + 1, here - 1, here + width, here - width], -1))
    slope = torch.stack([around[..., 0] - around[..., 1], around[..., 2] - around[..., 3]], -1)
    return points + 0.25 * slope.sign() * inside[..., None]
