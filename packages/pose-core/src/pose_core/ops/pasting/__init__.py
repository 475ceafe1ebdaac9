"""Parts, warped and pasted over images; differentiable with respect to their placement."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.pasting import _reference
from pose_core.ops.pasting._reference import pack, unpack, warp

__all__ = ["pack", "paste", "unpack", "warp"]


def paste(images: Tensor, texels: Tensor, boxes: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    """Paste the parts of every image over it, in order of slots: ``x ← x·(1 − m) + p·m``.

    ``images`` ``(N, 3, H, W)`` and ``thetas`` ``(N, S, 2, 3)`` → ``(N, 3, H, W)``. Every part lies on a canvas of its
    own, of an image's size, in the pixels of its box: ``boxes`` ``(N, S, 4)`` int32 hold left, top, right and bottom
    (exclusive), all zero where there is no part. ``texels`` ``(P, 4)`` are the colors and the soft masks of all these
    boxes, row by row, one box after the other, as :func:`pack` stores them; a color must be zero where its mask is. A
    theta maps output coordinates to those of the canvas, both in −1…1; with ``align_corners`` these are the centers of
    the outermost pixels, otherwise their outer edges. Outside its box a part is zero, and so is its mask. Gradients
    reach images and thetas.
    """
    if choose("paste") == "reference" or texels.requires_grad:
        return _reference.paste(images, texels, boxes, thetas, align_corners=align_corners)
    # The kernel does not handle an image one pixel wide or high, whose only pixel lies between −1 and 1.
    if uses_triton("paste", images) and min(images.shape[2:]) > 1:
        from pose_core.ops.pasting import _triton

        return _triton.paste(images, texels, boxes, thetas, align_corners=align_corners)
    if images.device.type != "cpu":
        return _reference.paste(images, texels, boxes, thetas, align_corners=align_corners)
    from pose_core.ops.pasting import _fast

    return _fast.paste(images, texels, boxes, thetas, align_corners=align_corners)
