"""The mean of a prediction and its mirror image's."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_core.ops._dispatch import choose


def fuse_flip(plain: Tensor, flipped: Tensor, flip_order: Tensor, *, shift: bool) -> Tensor:
    """Mirror ``flipped`` back, swap left and right, and average with ``plain``; all ``(N, K, H, W)``.

    ``flip_order`` ``(K,)`` swaps left and right. ``shift`` moves the mirrored map one column to the right first (its
    first column stays), which is what the published convention's mirror is off by.
    """
    if choose("fuse_flip") == "reference":
        back = flipped.flip(3)[:, flip_order]
        if shift:
            back = back.clone()
            back[..., 1:] = back[..., :-1].clone()
        return (plain + back) * 0.5
    back = flipped.flip(3).index_select(1, flip_order)
    if not shift:
        return back.add_(plain).mul_(0.5)
    # Shifting all maps as one line of numbers is fast; what it carries from row to row is put right after.
    fused = plain.clone(memory_format=torch.contiguous_format)
    fused.view(-1)[1:] += back.view(-1)[:-1]
    fused[..., 0] = plain[..., 0] + back[..., 0]
    return fused.mul_(0.5)
