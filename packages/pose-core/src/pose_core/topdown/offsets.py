"""Decoding of networks with three maps per joint: a heatmap, and the offsets of the joint in x and y.

It is the second form of UDP (Huang et al., 2020), as the open-mmlab zoo trains it: near a joint the heatmap is high,
and the offset maps hold the way from each pixel to the joint, in units of a radius that is proportional to the map's
height.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS = 0.0546875
"""The offsets' unit as a share of the map's height: 3.5 pixels of 64."""
BLUR_KERNEL = 23
"""Side of the Gaussian that smooths the heatmap before its maximum is taken."""
BLUR_SIGMA = 0.3 * ((BLUR_KERNEL - 1) * 0.5 - 1) + 0.8
"""Its standard deviation, which OpenCV gives a kernel of that side."""


def decode_offsets(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return keypoints ``(N, K, 2)`` in heatmap pixels and scores ``(N, K)`` of maps ``(N, 3·K, H, W)``.

    Channels are heatmap, x and y of each joint in turn. A joint is at the maximum of its smoothed heatmap plus the
    offset there; the score is that maximum. The offsets are used as they are, as by mmpose 1.x; mmpose 0.x smooths
    them, too.
    """
    height, width = maps.shape[2:]
    heat, x, y = maps.reshape(len(maps), -1, 3, height, width).unbind(2)
    smooth = smooth_heatmaps(heat).flatten(2)
    scores, index = smooth.max(2)
    away = torch.stack([part.flatten(2).gather(2, index[..., None])[..., 0] for part in (x, y)], -1)
    points = torch.stack([index % width, index // width], -1).to(maps.dtype) + away * (RADIUS * height)
    return points, scores


def fuse_flipped_offsets(maps: Tensor, mirrored: Tensor, flip_order: Tensor) -> Tensor:
    """Return the mean ``(N, 3·K, H, W)`` of an image's maps and those of its mirror image, mirrored back.

    ``flip_order`` ``(K,)`` swaps left and right. Offsets in x change their sign.
    """
    back = mirrored.flip(3).reshape(len(maps), -1, 3, *maps.shape[2:])[:, flip_order]
    back = back * back.new_tensor([1, -1, 1])[:, None, None]
    return (maps + back.flatten(1, 2)) / 2


def smooth_heatmaps(heatmaps: Tensor) -> Tensor:
    """Smooth heatmaps ``(N, K, H, W)``, mirrored at their borders without repeating the last pixel."""
    radius = BLUR_KERNEL // 2
    line = torch.arange(-radius, radius + 1, device=heatmaps.device, dtype=heatmaps.dtype)
    kernel = torch.exp(-line.square() / (2 * BLUR_SIGMA**2))
    kernel = kernel / kernel.sum()
    height, width = heatmaps.shape[2:]
    rows, columns = _mirrored(height, radius), _mirrored(width, radius)
    count, joints = heatmaps.shape[:2]
    wide = heatmaps[:, :, rows.to(heatmaps.device)][:, :, :, columns.to(heatmaps.device)]
    single = wide.reshape(count * joints, 1, height + 2 * radius, width + 2 * radius)
    single = functional.conv2d(single, kernel.view(1, 1, 1, -1))
    return functional.conv2d(single, kernel.view(1, 1, -1, 1)).reshape(heatmaps.shape)


def _mirrored(size: int, radius: int) -> Tensor:
    """Return the pixels ``(size + 2·radius,)`` that a row has beyond its ends: 2, 1, 0, 1, …, n−1, n−2."""
    place = torch.arange(-radius, size + radius).abs()
    return torch.where(place < size, place, 2 * (size - 1) - place)
