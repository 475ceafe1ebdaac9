"""One pass over both maps, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 4
"""Samples per chunk that fit into a core's cache."""


def fuse_flip(plain: Tensor, flipped: Tensor, flip_order: Tensor, shift: bool) -> Tensor:
    if not shift:
        return flipped.flip(3).index_select(1, flip_order).add_(plain).mul_(0.5)
    fused = torch.empty_like(plain, memory_format=torch.contiguous_format)
    # On a GPU all samples are one chunk.
    step = CHUNK if plain.device.type == "cpu" else max(len(plain), 1)
    for start in range(0, len(plain), step):
        one, other = plain[start : start + step].contiguous(), flipped[start : start + step]
        back, out = other.flip(3).index_select(1, flip_order), fused[start : start + step]
        # Shifting all maps as one flat row is fast; what it carries from row to row is overwritten next.
        torch.add(one.view(-1)[1:], back.view(-1)[:-1], out=out.view(-1)[1:])
        torch.add(one[..., 0], back[..., 0], out=out[..., 0])
        out.mul_(0.5)
    return fused
