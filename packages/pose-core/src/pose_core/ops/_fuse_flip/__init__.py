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
    mirrored = flipped.flip(3)
    fused = torch.empty_like(plain)
    if shift:
        fused[..., :1] = plain[..., :1] + mirrored[:, flip_order, :, :1]
        fused, mirrored, plain, whole = fused[..., 1:], mirrored[..., :-1], plain[..., 1:], fused
    else:
        whole = fused
    # Adding channel by channel into place saves the copy that indexing by the order would make.
    for channel, other in enumerate(flip_order.tolist()):
        torch.add(plain[:, channel], mirrored[:, other], out=fused[:, channel])
    return whole.mul_(0.5)
