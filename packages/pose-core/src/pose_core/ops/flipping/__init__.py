"""Flip test: the average of the predictions for an image and for its mirror image."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops.dispatch import choose
from pose_core.ops.flipping import _fast, _reference

__all__ = ["fuse_flip"]


def fuse_flip(plain: Tensor, flipped: Tensor, flip_order: Tensor, *, shift: bool) -> Tensor:
    """Mirror ``flipped`` back, swap left and right, and average with ``plain``; all ``(N, K, H, W)``.

    ``flip_order`` ``(K,)`` swaps left and right. ``shift`` first moves the mirrored map one column to the right (its
    first column stays), which corrects the misalignment of the published pixel convention.
    """
    path = choose("fuse_flip")
    if path == "reference" or plain.requires_grad or flipped.requires_grad:
        return _reference.fuse_flip(plain, flipped, flip_order, shift)
    if path == "numpy" and _fast.fits_numpy(plain, flipped):
        return _fast.in_numpy(plain, flipped, flip_order, shift)
    return _fast.in_torch(plain, flipped, flip_order, shift)
