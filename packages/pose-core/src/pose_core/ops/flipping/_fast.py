"""Without gradients, a few samples at a time, which stay in the cache until they are averaged."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from pose_core.ops.buffers import buffer

CHUNK = 2
"""Samples per chunk in numpy."""
TORCH_CHUNK = 4
"""Samples per chunk in PyTorch."""


def fits_numpy(plain: Tensor, flipped: Tensor) -> bool:
    """Return whether `in_numpy` takes these maps."""
    return all(
        maps.device.type == "cpu" and maps.dtype in (torch.float32, torch.float64) and maps.dtype == plain.dtype
        for maps in (plain, flipped)
    )


def in_numpy(plain: Tensor, flipped: Tensor, flip_order: Tensor, shift: bool) -> Tensor:
    count, number, height, width = plain.shape
    ours = plain.contiguous().numpy().reshape(count, number, height * width)
    rows = flipped.contiguous().numpy().reshape(-1, width)
    fused = buffer(ours.shape, ours.dtype)
    swaps, half = _swaps(tuple(flip_order.tolist())), ours.dtype.type(0.5)
    # One value more: all maps as one flat row, one pixel later, are all maps shifted by one column.
    room = buffer((1 + ours[:CHUNK].size,), ours.dtype)
    for start in range(0, count if ours.size else 0, CHUNK):
        one, result = ours[start : start + CHUNK], fused[start : start + CHUNK]
        theirs = rows[start * number * height : (start + CHUNK) * number * height]
        length = one.size
        cv2.flip(theirs, 1, room[1 : 1 + length].reshape(theirs.shape))
        if shift:  # the first column stays
            room[:length:width] = room[1 : 1 + length : width]
        back = (room[:length] if shift else room[1 : 1 + length]).reshape(one.shape)
        for channels, sources in swaps:
            np.add(one[:, channels], back[:, sources], result[:, channels])
        np.multiply(result, half, result)
    return torch.from_numpy(fused.reshape(plain.shape))


@cache
def _swaps(order: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return pairs of slices so that ``a[pair[0]] = b[pair[1]]`` for all of them is ``a = b[order]``.

    Few slices do: left and right alternate, or the right side comes in reverse after the left one.
    """
    left, found = set(range(len(order))), []
    while left:
        first = min(left)
        count, step, ahead = max(_run(order, left, first, step) for step in (1, 2))
        end = order[first] + count * ahead
        left -= set(range(first, first + count * step, step))
        found.append((slice(first, first + count * step, step), slice(order[first], end if end >= 0 else None, ahead)))
    return found


def _run(order: tuple[int, ...], left: set[int], first: int, step: int) -> tuple[int, int, int]:
    """Return how many channels, ``step`` apart, have sources at equal distances; the step, and that distance."""
    if first + step not in left:
        return 1, step, 1
    ahead, count = order[first + step] - order[first], 2
    while first + count * step in left and order[first + count * step] == order[first] + count * ahead:
        count += 1
    return count, step, ahead


def in_torch(plain: Tensor, flipped: Tensor, flip_order: Tensor, shift: bool) -> Tensor:
    if not shift:
        return flipped.flip(3).index_select(1, flip_order).add_(plain).mul_(0.5)
    fused = torch.empty_like(plain, memory_format=torch.contiguous_format)
    # On a GPU all samples are one chunk.
    step = TORCH_CHUNK if plain.device.type == "cpu" else max(len(plain), 1)
    for start in range(0, len(plain), step):
        one, other = plain[start : start + step].contiguous(), flipped[start : start + step]
        back, out = other.flip(3).index_select(1, flip_order), fused[start : start + step]
        # Shifting all maps as one flat row is fast; what it carries from row to row is overwritten next.
        torch.add(one.view(-1)[1:], back.view(-1)[:-1], out=out.view(-1)[1:])
        torch.add(one[..., 0], back[..., 0], out=out[..., 0])
        out.mul_(0.5)
    return fused
