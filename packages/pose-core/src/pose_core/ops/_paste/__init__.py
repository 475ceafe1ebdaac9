"""Parts, warped and laid over images: differentiable down to where they are put."""

from __future__ import annotations

from torch import Tensor

from pose_core.ops._dispatch import choose
from pose_core.ops._paste._reference import paste as _paste_slowly


def paste(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    """Lay the parts of every image over it, in order of slots: ``x ← x·(1 − m) + p·m``.

    ``images`` ``(N, 3, H, W)``, ``parts`` ``(N, S, 3, H, W)``, soft ``masks`` ``(N, S, 1, H, W)``, ``thetas``
    ``(N, S, 2, 3)`` → ``(N, 3, H, W)``. A theta maps output coordinates to those of the part's canvas, both in −1…1;
    with ``align_corners`` these are the centres of the outermost pixels, otherwise their outer edges. Outside the
    canvas a part is zero, and so is its mask. A part must be zero where its mask is. Gradients reach images and thetas.
    """
    if choose("paste") == "reference" or images.device.type != "cpu" or parts.requires_grad or masks.requires_grad:
        return _paste_slowly(images, parts, masks, thetas, align_corners=align_corners)
    from pose_core.ops._paste import _fast

    return _fast.paste(images, parts, masks, thetas, align_corners=align_corners)
