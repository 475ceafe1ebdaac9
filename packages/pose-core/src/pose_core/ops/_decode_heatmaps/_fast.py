"""All maps at once; on the CPU through numpy, whose flat argmax is several times faster than torch's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def argmax(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    if _is_plain(heatmaps):
        maps = heatmaps.detach().numpy()
        flat = maps.reshape(-1, maps.shape[2] * maps.shape[3])
        index = flat.argmax(1)
        scores = flat[np.arange(len(flat)), index]
        found = np.empty((len(flat), 2), maps.dtype)
        found[:, 1], found[:, 0] = np.divmod(index, maps.shape[3])
        found *= (scores > 0)[:, None]
        return torch.from_numpy(found.reshape(*maps.shape[:2], 2)), torch.from_numpy(scores.reshape(maps.shape[:2]))
    width = heatmaps.shape[-1]
    flat_maps = heatmaps.flatten(2)
    place = flat_maps.argmax(2)
    best = flat_maps.gather(2, place[..., None])[..., 0]
    points = torch.stack([place % width, place // width], -1).to(heatmaps.dtype)
    return points * (best > 0)[..., None], best


def _is_plain(heatmaps: Tensor) -> bool:
    return heatmaps.device.type == "cpu" and heatmaps.dtype in (torch.float32, torch.float64)


def quarter_offset(heatmaps: Tensor, points: Tensor) -> Tensor:
    if _is_plain(heatmaps):
        return torch.from_numpy(_quarter_offset_in_numpy(heatmaps.detach().numpy(), points.detach().numpy()))
    height, width = heatmaps.shape[-2:]
    flat = heatmaps.flatten(2)
    x, y = (points + 0.5).floor().long().unbind(-1)
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    here = torch.where(inside, y * width + x, width + 1)
    around = flat.gather(2, torch.stack([here + 1, here - 1, here + width, here - width], -1))
    slope = torch.stack([around[..., 0] - around[..., 1], around[..., 2] - around[..., 3]], -1)
    return points + 0.25 * slope.sign() * inside[..., None]


def _quarter_offset_in_numpy(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    height, width = maps.shape[2:]
    flat = maps.reshape(-1)
    moved = points.reshape(-1, 2).copy()
    x, y = np.floor(moved + 0.5).astype(np.int64).T
    rows = np.flatnonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
    here = rows * (height * width) + y[rows] * width + x[rows]
    moved[rows, 0] += 0.25 * np.sign(flat[here + 1] - flat[here - 1])
    moved[rows, 1] += 0.25 * np.sign(flat[here + width] - flat[here - width])
    return moved.reshape(points.shape)
