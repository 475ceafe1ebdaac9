"""Without gradients, a few samples at a time, which stay in the cache until they are averaged."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from pose_core.ops.buffers import buffer

CHUNK = 8
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
    ours, theirs = plain.contiguous().numpy(), flipped.contiguous().numpy()
    fused = buffer(ours.shape, ours.dtype)
    count, number, height, width = ours.shape
    order, size = flip_order.tolist(), number * height * width
    half = ours.dtype.type(0.5)
    # One value more: all maps as one flat row, one pixel later, are all maps shifted by one column.
    room = buffer((1 + min(CHUNK, count) * size,), ours.dtype)
    for start in range(0, count if size else 0, CHUNK):
        one, result = ours[start : start + CHUNK], fused[start : start + CHUNK]
        length = one.size
        cv2.flip(theirs[start : start + CHUNK].reshape(-1, width), 1, room[1 : 1 + length].reshape(-1, width))
        if shift:  # the first column stays
            room[:length:width] = room[1 : 1 + length : width]
        back = (room[:length] if shift else room[1 : 1 + length]).reshape(one.shape)
        for channel, source in enumerate(order):
            np.add(one[:, channel], back[:, source], out=result[:, channel])
        np.multiply(result, half, out=result)
    return torch.from_numpy(fused)


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
