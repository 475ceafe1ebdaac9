"""From the uint8 images that travel over the bus to what a network takes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pose_core.ops.dispatch import uses_triton

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Pixels = Literal["imagenet", "unit"]
STATISTICS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))}
"""Mean and deviation that pixels of 0…1 are normalised by."""


def normalise(
    images: Tensor,
    *,
    pixels: Pixels = "imagenet",
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """``(N, H, W, 3)`` uint8 → ``(N, 3, H, W)``: (x/255 − mean) / std, channel by channel in the order given.

    ``pixels`` says by what: ImageNet's mean and deviation, or nothing at all, so that the network sees 0…1.

    The statistics are applied in stored order also where that is BGR, as the published pipelines do.
    """
    mean, std = STATISTICS[pixels]
    factors = tuple(1 / (255 * value) for value in std)
    offsets = tuple(-m / s for m, s in zip(mean, std, strict=True))
    if uses_triton("normalise", images):
        from pose_core.ops.normalizing import _triton

        return _triton.normalise(images, list(factors), list(offsets), dtype, channels_last)
    scale = torch.tensor(factors, device=images.device).view(1, 3, 1, 1)
    offset = torch.tensor(offsets, device=images.device).view(1, 3, 1, 1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # Reordering bytes while they become floats is ten times faster on a CPU than reordering floats.
    x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
    return x.mul_(scale).add_(offset).to(dtype)
