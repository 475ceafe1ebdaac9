"""Crops of decoded images, on their device: scaling, rotation, mirroring and translation in one bilinear warp."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pose_core.ops.dispatch import uses_triton
from pose_core.ops.warping import _reference

__all__ = ["warp_crops"]


def warp_crops(images: Sequence[Tensor], image_of: Tensor, to_image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return crops ``(N, H, W, 3)`` uint8 of ``size`` (w, h); black where they reach beyond their image.

    ``images`` are M of ``(3, h, w)`` uint8, each of its own size, ``image_of`` ``(N,)`` holds each crop's index in
    ``images``, and ``to_image`` ``(N, 2, 3)`` maps a crop's pixels to its image's. OpenCV's warp differs only by
    rounding positions to a 32nd of a pixel.
    """
    if uses_triton("warp_crops", to_image):
        from pose_core.ops.warping import _triton

        return _triton.warp_crops(images, image_of, to_image, size)
    return _reference.warp_crops(images, image_of, to_image, size)
