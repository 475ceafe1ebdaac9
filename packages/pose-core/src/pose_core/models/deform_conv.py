"""Deformable convolution as a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pose_core.ops.deformable import DeformPath, deform_conv


class DeformConv(nn.Module):
    """A 3×3 deformable convolution without bias; its weight has a plain convolution's shape, as in published files.

    ``path`` chooses the operator, see `pose_core.ops.deform_conv`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, groups: int = 1, dilation: int = 1, path: DeformPath = "auto"
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.path = path
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, 3, 3))
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Convolve ``x`` ``(N, C, H, W)`` with taps moved by ``offset`` ``(N, 18·G, H, W)`` → ``(N, M, H, W)``."""
        return deform_conv(x, offset, self.weight, dilation=self.dilation, path=self.path)
