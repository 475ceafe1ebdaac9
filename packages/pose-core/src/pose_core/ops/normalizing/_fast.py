"""One product and one sum per channel; bytes are reordered during the conversion to floats."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pose_core.ops.constants import constant


def normalize(
    images: Tensor, scale: Sequence[float], offset: Sequence[float], dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Return x·scale + offset for each channel."""
    factors, summands = (constant(tuple(values), images.device) for values in (scale, offset))
    if channels_last:  # lines of colors one after the other: three values at a time take three times as long
        width = images.shape[2]
        lines = images.to(torch.float32, memory_format=torch.contiguous_format).flatten(2)
        lines.mul_(factors.repeat(width)).add_(summands.repeat(width))
        return lines.reshape(*images.shape[:2], width, 3).permute(0, 3, 1, 2).to(dtype)
    # Reordering bytes during the conversion is ten times faster on a CPU than reordering floats.
    x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return x.mul_(factors.view(1, 3, 1, 1)).add_(summands.view(1, 3, 1, 1)).to(dtype)
