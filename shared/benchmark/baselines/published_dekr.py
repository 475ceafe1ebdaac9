"""DEKR's targets and post-processing as published: loops over people and joints, maps enlarged before use."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import leastsq
from torch import Tensor
from torch.nn import functional as F


def targets(joints: np.ndarray, areas: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
    """Heatmaps, masks, offsets and weights of one image from ``(P, K+1, 3)`` in output pixels."""
    channels = joints.shape[1]
    heat = np.zeros((channels, side, side), np.float32)
    mask = np.full((channels, side, side), 0.1, np.float32)
    for person in joints:
        for j, (x, y, v) in enumerate(person):
            if v <= 0 or not (0 <= x < side and 0 <= y < side):
                continue
            sigma = 2.0 if j < 17 else 4.0
            x0, y0 = int(np.floor(x - 3 * sigma - 1)), int(np.floor(y - 3 * sigma - 1))
            x1, y1 = int(np.ceil(x + 3 * sigma + 2)), int(np.ceil(y + 3 * sigma + 2))
            left, top, right, bottom = max(0, x0), max(0, y0), min(x1, side), min(y1, side)
            # Written out per row, as a function of the coordinates.
            patch = np.exp(
                -((np.arange(left, right)[None, :] - x) ** 2 + (np.arange(top, bottom)[:, None] - y) ** 2)
                / (2 * sigma**2)
            )
            heat[j, top:bottom, left:right] = np.maximum(heat[j, top:bottom, left:right], patch)
            mask[j, top:bottom, left:right] = 1
    count = channels - 1
    offsets, weights = np.zeros((2 * count, side, side), np.float32), np.zeros((2 * count, side, side), np.float32)
    owner = np.zeros((side, side), np.float32)
    for person, area in zip(joints, areas, strict=True):
        cx, cy, seen = int(person[-1, 0]), int(person[-1, 1]), person[-1, 2]
        if seen < 1 or not (0 <= cx < side and 0 <= cy < side):
            continue
        for j, (x, y, v) in enumerate(person[:-1]):
            if v <= 0 or not (0 <= x < side and 0 <= y < side):
                continue
            for column in range(max(cx - 4, 0), min(cx + 4, side)):
                for row in range(max(cy - 4, 0), min(cy + 4, side)):
                    is_set = offsets[2 * j, row, column] != 0 or offsets[2 * j + 1, row, column] != 0
                    if is_set and owner[row, column] < area:
                        continue
                    offsets[2 * j, row, column], offsets[2 * j + 1, row, column] = column - x, row - y
                    weights[2 * j : 2 * j + 2, row, column] = 1.0 / np.sqrt(area)
                    owner[row, column] = area
    return heat, mask, offsets, weights


def post_process(
    heat: Tensor, heat_flipped: Tensor, offsets: Tensor, offsets_flipped: Tensor, order: Tensor, size: tuple[int, int]
) -> np.ndarray:
    """People ``(N, K, 3)`` from both orientations' maps ``(1, C, h, w)`` at scale 1; ``size`` (w, h)."""
    with_center = torch.cat([order, torch.tensor([len(order)])])
    heat = (heat + torch.flip(heat_flipped, [3])[:, with_center]) / 2
    poses = to_poses(offsets)
    flipped = to_poses(offsets_flipped).reshape(1, -1, 2, *poses.shape[2:])[:, order]
    flipped[:, :, 0] = poses.shape[3] - flipped[:, :, 0] - 1
    poses = (poses + torch.flip(flipped.reshape(poses.shape), [3])) / 2
    large = enlarge(heat, (size[1], size[0]))[0]
    ratio = size[0] / heat.shape[3]
    center = heat[0, -1:]
    pooled = F.max_pool2d(center[None], 3, 1, 1)[0]
    scores, index = (center * (pooled == center)).flatten().topk(30)
    index, scores = index[scores > 0.01], scores[scores > 0.01]
    points = poses[0].flatten(1).T[index].reshape(len(index), -1, 2) * ratio
    people = torch.cat([points, scores[:, None, None].expand(-1, points.shape[1], 1)], 2).numpy().copy()
    people = suppress(people, large.numpy())
    return match_heatmap(people, large)


def to_poses(offsets: Tensor) -> Tensor:
    _, channels, height, width = offsets.shape
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return torch.stack([x, y]).repeat(channels // 2, 1, 1) - offsets


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    r = size[0] // maps.shape[2], size[1] // maps.shape[3]
    inner = (size[0] - r[0] + 1, size[1] - r[1] + 1)
    return F.pad(
        F.interpolate(maps, size=inner, mode="bilinear", align_corners=True), (0, r[1] - 1, 0, r[0] - 1), "replicate"
    )


def suppress(people: np.ndarray, large: np.ndarray) -> np.ndarray:
    heat = np.zeros(people.shape[:2])
    for n in range(len(people)):
        for k in range(people.shape[1]):
            x = min(max(int(np.floor(people[n, k, 0])), 0), large.shape[2] - 1)
            y = min(max(int(np.floor(people[n, k, 1])), 0), large.shape[1] - 1)
            heat[n, k] = large[k, y, x]
            people[n, k, 2] *= heat[n, k]
    merit = heat.mean(1)
    extent = np.ptp(people[..., 0], 1) ** 2 + np.ptp(people[..., 1], 1) ** 2
    apart = np.sqrt(((people[:, None, :, :2] - people[None, :, :, :2]) ** 2).sum(-1))
    similar = (apart < 0.05 * np.sqrt(extent)[:, None, None]).sum(2) > 8
    ignored, kept = set(), []
    for n in range(len(people)):
        if n in ignored:
            continue
        cluster = np.flatnonzero(similar[n])
        best = cluster[merit[cluster].argmax()]
        if best in ignored:
            continue
        kept.append(best)
        ignored.update(cluster.tolist())
    return people[kept]


def match_heatmap(people: np.ndarray, large: Tensor) -> np.ndarray:
    maps = large[:-1]
    pooled = F.max_pool2d(maps[None], 5, 1, 2)[0]
    _, index = (maps * (pooled == maps)).flatten(1).topk(30)
    places = torch.stack([index % maps.shape[2], index // maps.shape[2]], 2).numpy()
    table, cache = maps.numpy(), {}
    for person in people:
        for k in range(len(person)):
            apart = np.sqrt(((places[k] - person[k, :2]) ** 2).sum(1))
            if apart.min() < 75:
                person[k, :2] = places[k, apart.argmin()]
    height, width = table.shape[1:]
    for person in people:
        for k in range(len(person)):
            if person[k, 2] <= 0.05:
                continue
            x = min(max(int(person[k, 0] + 0.5), 0), width - 1)
            y = min(max(int(person[k, 1] + 0.5), 0), height - 1)
            if (k, x, y) not in cache:
                left, top = max(x - 6, 0), max(y - 6, 0)
                data = table[k, top : min(y + 7, height), left : min(x + 7, width)]
                rows, columns = np.indices(data.shape)

                def error(
                    p: np.ndarray, data: np.ndarray = data, rows: np.ndarray = rows, columns: np.ndarray = columns
                ):
                    bell = np.exp(-((rows - p[1]) ** 2 + (columns - p[2]) ** 2) / (2 * p[3] ** 2))
                    return (p[0] * bell - data).ravel()

                found, status = leastsq(error, (table[k, y, x], y - top, x - left, 2.0), maxfev=300)
                cache[k, x, y] = (left + found[2], top + found[1]) if status in (1, 2, 3, 4) else (x, y)
            person[k, :2] = cache[k, x, y]
    return people
