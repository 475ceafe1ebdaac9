"""Literal implementation: divide by 255, subtract the mean, divide by the deviation."""

from __future__ import annotations

import torch
from torch import Tensor

Statistics = tuple[float, float, float]


def normalize(images: Tensor, mean: Statistics, std: Statistics, dtype: torch.dtype, channels_last: bool) -> Tensor:
    x = (images / 255 - torch.tensor(mean, device=images.device)) / torch.tensor(std, device=images.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return x.permute(0, 3, 1, 2).to(dtype).contiguous(memory_format=layout)
