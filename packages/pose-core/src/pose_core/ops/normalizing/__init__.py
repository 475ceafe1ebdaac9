"""Convert the uint8 images of a loader to the network's input."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.normalizing import _fast, _reference

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Pixels", "normalize"]

Pixels = Literal["imagenet", "unit"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STATISTICS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}
"""Mean and standard deviation of pixels in 0…1."""


def normalize(
    images: Tensor,
    *,
    pixels: Pixels = "imagenet",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """Return ``(N, 3, H, W)``, (x/255 − mean) / std, of images ``(N, H, W, 3)`` uint8.

    ``pixels`` selects the statistics: ImageNet's mean and deviation, or none, which leaves values in 0…1.

    The statistics are applied in stored channel order, even where that is BGR, as the published pipelines do.
    """
    mean, std = STATISTICS[pixels]
    if choose("normalize") == "reference":
        return _reference.normalize(images, mean, std, dtype, channels_last)
    scale = [1 / (255 * s) for s in std]
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    if uses_triton("normalize", images):
        from pose_core.ops.normalizing import _triton

        return _triton.normalize(images, scale, offset, dtype, channels_last)
    return _fast.normalize(images, scale, offset, dtype, channels_last)
