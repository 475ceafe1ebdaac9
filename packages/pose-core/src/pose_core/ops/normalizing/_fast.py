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
    factors = constant(tuple(scale), images.device).view(1, 3, 1, 1)
    summands = constant(tuple(offset), images.device).view(1, 3, 1, 1)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # Reordering bytes during the conversion is ten times faster on a CPU than reordering floats.
    x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
    return x.mul_(factors).add_(summands).to(dtype)
