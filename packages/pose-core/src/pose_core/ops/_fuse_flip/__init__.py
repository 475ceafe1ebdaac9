"""The mean of a prediction and its mirror image's."""

from __future__ import annotations

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
    # Swapping first and mirroring while adding saves a copy of the whole map.
    swapped = flipped.index_select(1, flip_order)
    if not shift:
        return (plain + swapped.flip(3)) * 0.5
    fused = plain.clone()
    fused[..., 1:] += swapped[..., 1:].flip(3)
    fused[..., :1] += swapped[..., -1:]
    return fused.mul_(0.5)
