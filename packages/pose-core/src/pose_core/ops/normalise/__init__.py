"""From the uint8 images that travel over the bus to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(
    images: Tensor,
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """``(N, H, W, 3)`` uint8 → ``(N, 3, H, W)``: (x/255 − mean) / std, channel by channel in the order given.

    The statistics are applied in stored order also where that is BGR, as the published pipelines do.
    """
    scale = torch.tensor([1 / (255 * value) for value in std], device=images.device, dtype=torch.float32)
    offset = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device)
    x = torch.addcmul(offset, images.float(), scale).to(dtype).permute(0, 3, 1, 2)
    # A permuted NHWC tensor already is channels-last in memory.
    return x if channels_last else x.contiguous()
