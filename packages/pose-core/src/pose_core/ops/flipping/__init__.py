"""The mean of a prediction and its mirror image's."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_core.ops.dispatch import choose

FEW = 4


def fuse_flip(plain: Tensor, flipped: Tensor, flip_order: Tensor, *, shift: bool) -> Tensor:
    """Mirror ``flipped`` back, swap left and right, and average with ``plain``; all ``(N, K, H, W)``.

    ``flip_order`` ``(K,)`` swaps left and right. ``shift`` moves the mirrored map one column to the right first (its
    first column stays), which is what the published convention's mirror is off by.
    """
    if choose("fuse_flip") == "reference" or plain.requires_grad or flipped.requires_grad:
        back = flipped.flip(3)[:, flip_order]
        if shift:
            back = back.clone()
            back[..., 1:] = back[..., :-1].clone()
        return (plain + back) * 0.5
    if not shift:
        return flipped.flip(3).index_select(1, flip_order).add_(plain).mul_(0.5)
    fused = torch.empty_like(plain, memory_format=torch.contiguous_format)
    # A few samples at a time stay in a core's cache; a GPU takes them all.
    step = FEW if plain.device.type == "cpu" else max(len(plain), 1)
    for start in range(0, len(plain), step):
        one, other = plain[start : start + step].contiguous(), flipped[start : start + step]
        back, out = other.flip(3).index_select(1, flip_order), fused[start : start + step]
        # Shifting all maps as one line of numbers is fast; what it carries from row to row is put right after.
        torch.add(one.view(-1)[1:], back.view(-1)[:-1], out=out.view(-1)[1:])
        torch.add(one[..., 0], back[..., 0], out=out[..., 0])
        out.mul_(0.5)
    return fused
