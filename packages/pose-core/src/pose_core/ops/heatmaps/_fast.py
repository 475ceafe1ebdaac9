"""All joints in one call.

On a CPU, published targets show the same patch at other positions: maps are windows of one template, or empty but for
one block of rows, which is copied. On other devices, and for sub-pixel peaks, a Gaussian is the product of one along x
and one along y.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from pose_core.ops.buffers import buffer
from pose_core.ops.constants import constant

FAR = 4096
"""A peak far inside any map: the window's ends round there as in the middle of a map."""
MOST = 2**20
"""Limit of the bands' values, 4 MB, which grow with the square of the maps' width."""


def gaussian_heatmaps(
    joints: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: float,
    quantize: bool,
    ratio: tuple[float, float],
    *,
    in_bands: bool = True,
) -> tuple[Tensor, Tensor]:
    if quantize and joints.device.type == "cpu":
        if in_bands and _band_values(size, sigma) <= MOST:
            return _bands(joints, weights, size, sigma, ratio)
        centers, kept = joint_centers(joints, weights, size, sigma, quantize, ratio)
        return _windows(centers, kept > 0.5, size, sigma), kept
    centers, kept = joint_centers(joints, weights, size, sigma, quantize, ratio)
    radius = 3 * sigma if quantize else None
    along_x = _line(centers[..., 0], size[0], sigma, radius)
    along_y = _line(centers[..., 1], size[1], sigma, radius) * (kept > 0.5)[..., None]
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


def _bands(
    joints: Tensor, weights: Tensor, size: tuple[int, int], sigma: float, ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return maps ``(N, K, H, W)`` of zeros, with the rows that each patch covers copied in at once, and the weights.

    The rest is in numpy too, with the operations of `joint_centers`: small calls of PyTorch take three times as long.
    """
    width, height = size
    fields, rows, low, length = _fields(width, height, sigma)
    scale, limits = _columns(ratio), _columns(size)
    # Rows of x and y. The comparisons are those of `joint_centers`, where trunc() does not matter.
    peaks = np.trunc(joints.detach().float().numpy().reshape(-1, 2).T * scale + 0.5)
    outside = (peaks - 3 * sigma >= limits) | (peaks + 3 * sigma + 1 <= -1)
    kept = weights.detach().float().numpy().reshape(-1) * ~(outside[0] | outside[1])
    drawn = np.flatnonzero(kept > 0.5)
    corners = np.minimum(peaks.take(drawn, 1) + low, limits).astype(np.int64)
    left, top = np.maximum(corners, -length, out=corners)
    first = np.maximum(np.minimum(top, height - rows), 0)  # of the rows that are written
    maps = torch.from_numpy(buffer((*weights.shape, height, width), np.float32)).zero_()  # numpy's fill is slower
    if len(drawn):
        # Of the field with the patch at this column, the rows that belong there.
        source = (left + length) * (length + 2 * rows) + rows + first - top
        blocks = _blocks(maps.numpy(), width, rows)
        blocks[drawn * height + first] = fields[source]
    return maps, torch.from_numpy(kept.reshape(weights.shape))


@lru_cache(maxsize=16)
def _columns(values: tuple[float, float]) -> np.ndarray:
    """Return a pair as a column."""
    return np.array(values, np.float32)[:, None]


def _blocks(values: np.ndarray, width: int, rows: int) -> np.ndarray:
    """Return a view of contiguous rows of ``width``: ``rows`` of them from every row on, as one row each."""
    count = values.size // width - rows + 1
    return np.ndarray((count, rows * width), values.dtype, values, strides=(width * values.itemsize, values.itemsize))


@lru_cache(maxsize=8)
def _fields(width: int, height: int, sigma: float) -> tuple[np.ndarray, int, int, int]:
    """Return a field for every column where a patch may begin, as blocks, their rows, and the patch's begin and length.

    Each field is empty for a block, has the patch, and is empty for a block again.
    """
    low, patch = _patch(sigma)
    length = len(patch)
    rows = min(length, height)
    fields = np.zeros((width + length + 1, length + 2 * rows, width), np.float32)
    for left in range(1 - length, width):
        inside = slice(max(left, 0), left + length)
        shown = fields[left + length, rows : rows + length, inside]
        shown[:] = patch[:, max(-left, 0) : max(-left, 0) + shown.shape[1]]
    return _blocks(fields, width, rows), rows, low, length


def _band_values(size: tuple[int, int], sigma: float) -> int:
    """Return the number of values of `_fields`."""
    width, height = size
    length = len(_patch(sigma)[1])
    return int((width + length + 1) * (length + 2 * min(length, height)) * width)


@lru_cache(maxsize=8)
def _patch(sigma: float) -> tuple[int, np.ndarray]:
    """Return where a Gaussian's patch begins, relative to its peak, and the patch."""
    low = int(FAR - 3 * sigma) - FAR
    offsets = np.arange(low, int(FAR + 3 * sigma + 1) - FAR, dtype=np.float32)
    return low, np.exp(-(offsets**2 + offsets[:, None] ** 2) / (2 * sigma**2))


@lru_cache(maxsize=8)
def _template(width: int, height: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a field with one patch, empty and wide enough for every window, and the patch's peak (row, column)."""
    low, patch = _patch(sigma)
    length = len(patch)
    field = np.zeros((2 * height + 2 * length, 2 * width + 2 * length), np.float32)
    field[height : height + length, width : width + length] = patch
    return field, np.array([height - low, width - low])


def _line(centers: Tensor, length: int, sigma: float, radius: float | None) -> Tensor:
    """Return Gaussians ``(N, K, length)`` along one axis, cut at ±radius."""
    position = torch.arange(length, device=centers.device)
    line = torch.exp((position - centers[..., None]).square() * (-0.5 / sigma**2))
    if radius is None:
        return line
    low, high = torch.trunc(centers - radius), torch.trunc(centers + radius + 1)
    return line * ((position >= low[..., None]) & (position < high[..., None]))
