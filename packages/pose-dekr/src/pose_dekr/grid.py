"""Heatmaps at the resolution of the base image, without storing them at that size.

The published code enlarges the maps of every scale bilinearly and averages them. This average is bilinear between the
pixels of the finest map: it is stored at that size and sampled where needed, and its maxima are on that grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_core.errors import ConfigError
from pose_dekr.flip import up_interpolate

Array = np.ndarray
SPARE = 2
"""Maxima of a first, necessary test that get the full one, as a multiple of those wanted."""


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

    def windows(self, channel: Tensor, x: Tensor, y: Tensor, reach: int) -> Tensor:
        """Return the values ``(M, S, S)`` float64 within ``reach`` of whole base pixels ``(M,)``, on the CPU.

        Like those of `at` at every pixel, of which beyond the border the nearest inside is taken.
        """
        nodes = math.ceil(2 * reach / self.ratio) + 2
        weights, lines = [], []
        for place, length, last in ((y, self.values.shape[1], self.size[1]), (x, self.values.shape[2], self.size[0])):
            first = (place - reach).div(self.ratio, rounding_mode="floor")
            around = first + torch.arange(nodes, device=place.device)[:, None]
            pixels = place + torch.arange(-reach, reach + 1, device=place.device)[:, None]
            where = (pixels.clamp(0, last - 1).double() / self.ratio).clamp(max=length - 1)
            # Linear interpolation: a node's share falls from 1 to 0 at the next nodes.
            weights.append((1 - (where[:, None] - around).abs()).clamp(min=0).cpu().numpy())
            lines.append(around.clamp(0, length - 1))
        rows = channel * self.values.shape[1] + lines[0]
        index = rows[:, None] * self.values.shape[2] + lines[1]
        patches = self.values.reshape(-1)[index].double().cpu().numpy()
        found = np.einsum("xtm,ytm->yxm", weights[1], np.einsum("ysm,stm->ytm", weights[0], patches))
        return torch.from_numpy(found).permute(2, 0, 1)


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
    if values.device.type == "cpu" and grid.ratio > 1 and not fill:
        pixels, highest = _highest_sparse_maxima(values.numpy(), count, threshold, 2 / grid.ratio)
        return torch.from_numpy(pixels) * grid.ratio, torch.from_numpy(highest)
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


def _highest_sparse_maxima(values: Array, count: int, threshold: float, reach: float) -> tuple[Array, Array]:
    """Return the highest ``count`` of the maxima of `_sparse_maxima` above ``threshold`` ≥ 0.

    Places are ``(C, count, 2)`` pixels x, y, values ``(C, count)``, zero where there are too few.

    A few passes over the maps leave the pixels that none of their four neighbors exceeds. Of these only the highest are
    checked for the corners, and if too few of them pass, all.
    """
    channels, height, width = values.shape
    values = np.ascontiguousarray(values)
    flat = values.reshape(-1)
    is_high = values > threshold
    for low, high, is_low, is_upper in (
        (values[:, :-1], values[:, 1:], is_high[:, :-1], is_high[:, 1:]),
        (flat[:-1], flat[1:], is_high.reshape(-1)[:-1], is_high.reshape(-1)[1:]),
    ):
        ahead, back = low >= high, high >= low
        if low.ndim == 1:  # the last pixel of a line and the first of the next are no neighbors
            ahead[width - 1 :: width] = back[width - 1 :: width] = True
        is_low &= ahead
        is_upper &= back
    index = _highest(values, is_high, SPARE * count)
    passes, channel = _passes_corners(flat, index, (height, width), min(reach, 1.0)), index // (height * width)
    too_few = np.bincount(channel[passes], minlength=channels) < count
    if (np.count_nonzero(is_high, (1, 2)) > np.bincount(channel, minlength=channels))[too_few].any():
        index = np.flatnonzero(is_high)
        passes, channel = _passes_corners(flat, index, (height, width), min(reach, 1.0)), index // (height * width)
    index, channel = index[passes], channel[passes]
    order = np.lexsort((-flat[index], channel))
    rank = np.arange(len(index)) - np.searchsorted(channel, channel)
    order, rank = order[rank < count], rank[rank < count]
    index, channel = index[order], channel[order]
    places, heights = np.zeros((channels, count, 2), np.int64), np.zeros((channels, count), values.dtype)
    places[channel, rank] = np.stack([index % width, index // width % height], 1)
    heights[channel, rank] = flat[index]
    return places, heights


def _highest(values: Array, chosen: Array, count: int) -> Array:
    """Return the ascending flat indices of at least the highest ``count`` of the ``chosen`` pixels of each map."""
    channels, height, width = values.shape
    # The highest chosen value of each row is a bound that as many values reach as there are higher ones.
    with np.errstate(invalid="ignore"):
        rows = (values * chosen).max(2)
    bounds = np.partition(rows, -count, 1)[:, -count] if count <= height else np.zeros(channels)
    bounds = np.where(bounds > 0, bounds, -np.inf)  # NaN, of a diverged network, is no bound either
    index = np.flatnonzero(chosen & (values >= bounds[:, None, None]))
    if len(index) < 4 * count * channels:
        return index
    parts = np.split(index, np.searchsorted(index, np.arange(1, channels) * (height * width)))
    flat = values.reshape(-1)
    few = [part if len(part) <= count else part[np.argpartition(flat[part], -count)[-count:]] for part in parts]
    return np.sort(np.concatenate(few))


def _passes_corners(flat: Array, index: Array, size: tuple[int, int], reach: float) -> Array:
    """Return which pixels ``index`` ``(M,)`` of maps are maxima of the cells around them, see `_sparse_maxima`."""
    height, width = size
    column, row = index % width, index // width % height
    sides = -1 * (column > 0), +1 * (column < width - 1)
    lines = -width * (row > 0), width * (row < height - 1)
    value, inner = flat.take(index), (1 - reach) ** 2 - 1
    side, corner = reach * (1 - reach), reach**2
    passes = np.ones(len(index), bool)
    for dy in lines:
        for dx in sides:
            near = flat.take(index + dy) + flat.take(index + dx)
            passes &= inner * value + side * near + corner * flat.take(index + dy + dx) <= 0
    return passes
