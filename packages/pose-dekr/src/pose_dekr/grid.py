"""Heatmaps at the resolution of the base image, without storing them at that size.

The published code enlarges the maps of every scale bilinearly and averages them. This average is bilinear between the
pixels of the finest map: it is stored at that size and sampled where needed, and its maxima are on that grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pose_core.errors import ConfigError
from pose_dekr.flip import up_interpolate


class Grid(NamedTuple):
    """Maps ``values`` ``(C, h, w)`` at every ``ratio``-th pixel of a base image of ``size`` (w, h)."""

    values: Tensor
    ratio: int
    size: tuple[int, int]

    def at(self, channel: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the values at whole base pixels inside the image; the index tensors broadcast."""
        _, height, width = self.values.shape
        # Beyond the last grid line the map is repeated.
        across = (x.to(self.values.dtype) / self.ratio).clamp(max=width - 1)
        down = (y.to(self.values.dtype) / self.ratio).clamp(max=height - 1)
        left, top = across.long(), down.long()
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        u, v = across - left, down - top
        flat = self.values.reshape(-1)
        start = channel * (height * width)
        upper, lower = start + top * width, start + bottom * width
        first = flat[upper + left] * (1 - u) + flat[upper + right] * u
        second = flat[lower + left] * (1 - u) + flat[lower + right] * u
        return first * (1 - v) + second * v


def average(heatmaps: Sequence[Tensor], size: tuple[int, int]) -> Grid:
    """Average the maps ``(C, h, w)`` of several scales over a base image of ``size`` (w, h)."""
    finest = max(heatmaps, key=lambda maps: maps.shape[2])
    height, width = finest.shape[1:]
    ratio = size[0] // width
    if any(size[0] % maps.shape[2] or size[1] % maps.shape[1] for maps in heatmaps):
        shapes = [tuple(maps.shape[1:]) for maps in heatmaps]
        raise ConfigError(f"heatmaps of {shapes} (h, w) do not divide the base image {size} (w, h) evenly")
    total = torch.zeros_like(finest)
    for maps in heatmaps:
        total = total + (maps if maps is finest else up_interpolate(maps[None], (height, width))[0])
    return Grid(total / len(heatmaps) if len(heatmaps) > 1 else finest, ratio, size)


def enlarged(heatmaps: Sequence[Tensor], size: tuple[int, int]) -> Grid:
    """Return the same average with all pixels of the base image, rounded as by the published code."""
    first, *others = (up_interpolate(maps[None].contiguous(), size[::-1])[0] for maps in heatmaps)
    return Grid(sum(others, first) / len(heatmaps), 1, size)


def local_maxima(maps: Tensor, kernel: int) -> Tensor:
    """Return whether each pixel of ``(C, H, W)`` is the maximum of its ``kernel`` × ``kernel`` square.

    Maxima of shifted maps, first along rows, then along columns.
    """
    reach = kernel // 2
    largest = maps
    for axis in (1, 2):
        before, largest = largest, largest.clone()
        for step in range(1, min(reach, maps.shape[axis] - 1) + 1):
            length = maps.shape[axis] - step
            low, high = largest.narrow(axis, 0, length), largest.narrow(axis, step, length)
            torch.maximum(low, before.narrow(axis, step, length), out=low)
            torch.maximum(high, before.narrow(axis, 0, length), out=high)
    return largest == maps


def peaks(grid: Grid, count: int, threshold: float, *, fill: bool = False) -> tuple[Tensor, Tensor]:
    """Return the highest ``count`` maxima of each channel: base pixels ``(C, count, 2)`` as x, y, and values.

    Maxima are of 5×5 base pixels, without those that only the repeated last row and column make. A value of 0 means no
    maximum. With ``fill``, maxima up to the threshold and, if there are too few, pixels of no maximum fill the list,
    with a value of 0: the published list, if the grid is `enlarged`.
    """
    values = grid.values
    height, width = values.shape[1:]
    is_peak = local_maxima(values, 5) if grid.ratio == 1 else _sparse_maxima(values, 2 / grid.ratio)
    is_candidate = is_peak if fill else is_peak & (values > threshold)
    heights, index = torch.where(is_candidate, values, 0).flatten(1).topk(min(count, height * width))
    heights = torch.where(heights > threshold, heights, 0)
    places = torch.stack([index % width, index // width], -1) * grid.ratio
    return places, heights


def _sparse_maxima(values: Tensor, reach: float) -> Tensor:
    """Find the maxima of a bilinear map within ``reach`` ≤ 1 grid cells.

    Along a grid line the largest value is at an end; within a cell only the far corner needs checking.
    """
    reach = min(reach, 1.0)
    padded = torch.nn.functional.pad(values[None], (1, 1, 1, 1), mode="replicate")[0]
    height, width = values.shape[1:]

    def near(dy: int, dx: int) -> Tensor:
        return padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    is_peak = (values >= near(-1, 0)) & (values >= near(1, 0)) & (values >= near(0, -1)) & (values >= near(0, 1))
    inner = (1 - reach) ** 2 - 1
    side, corner = reach * (1 - reach), reach**2
    for dy in (-1, 1):
        for dx in (-1, 1):
            rise = inner * values + side * (near(dy, 0) + near(0, dx)) + corner * near(dy, dx)
            is_peak &= rise <= 0
    return is_peak
