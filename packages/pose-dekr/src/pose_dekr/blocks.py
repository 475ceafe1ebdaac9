"""Residual blocks of deformable convolutions, whose sampling positions a predicted transform moves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_core.models.deform_conv import DeformConv
from pose_core.models.network import InitializedLayer, UntracedBlock


def tap_grid() -> Tensor:
    """Return the positions of the nine taps of a 3×3 kernel, ``(2, 9)``: y and x in row order."""
    axis = torch.tensor([-1.0, 0.0, 1.0])
    return torch.stack([axis.repeat_interleave(3), axis.repeat(3)])


def tap_offsets(matrices: Tensor, grid: Tensor, groups: int = 1) -> Tensor:
    """Return the offsets that move the taps to the grid transformed by each pixel's matrix.

    ``matrices`` ``(N, 4·G, H, W)``, row-major and acting on (y, x) → ``(N, 18·G, H, W)``, dy0, dx0, dy1, dx1, ….
    """
    n, _, height, width = matrices.shape
    a = matrices.reshape(n, groups, 2, 2, height, width)
    moved = torch.einsum("ngijhw,jt->ngtihw", a, grid) - grid.T[:, :, None, None]
    return moved.reshape(n, groups * 18, height, width)


class TransformConv(nn.Conv2d, InitializedLayer):
    """The 3×3 convolution that predicts transforms; initially zero, so that every tap samples the center."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, 3, padding=1, groups=groups)
        self.initialize_published()

    def initialize_published(self) -> None:
        """Set weights and bias to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class TransformerBlock(UntracedBlock):
    """Bottom-Up's residual block of two deformable convolutions; ``(N, C, H, W)`` → the same shape.

    Both transforms are predicted from the block's input.
    """

    regular_matrix: Tensor

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.register_buffer("regular_matrix", tap_grid())
        self.transform_matrix_conv1 = TransformConv(channels, 4)
        self.stn_conv1 = DeformConv(channels, channels, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.transform_matrix_conv2 = TransformConv(channels, 4)
        self.stn_conv2 = DeformConv(channels, channels, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def share(self, other: TransformerBlock) -> None:
        """Share the other block's convolution weights; biases and batch norms remain separate."""
        for name in ("transform_matrix_conv1", "stn_conv1", "transform_matrix_conv2", "stn_conv2"):
            self.get_submodule(name).weight = other.get_submodule(name).weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.stn_conv1(x, tap_offsets(self.transform_matrix_conv1(x), self.regular_matrix))
        y = self.relu(self.bn1(y))
        y = self.bn2(self.stn_conv2(y, tap_offsets(self.transform_matrix_conv2(x), self.regular_matrix)))
        return self.relu(y + x)


class AdaptiveBlock(UntracedBlock):
    """DEKR's residual block of one deformable convolution, whose taps a matrix and a translation move.

    It is ``groups`` independent blocks of ``channels // groups`` channels each.
    """

    regular_matrix: Tensor

    def __init__(self, channels: int, groups: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("regular_matrix", tap_grid())
        self.transform_matrix_conv = TransformConv(channels, 4 * groups, groups)
        self.translation_conv = TransformConv(channels, 2 * groups, groups)
        self.adapt_conv = DeformConv(channels, channels, groups=groups, dilation=dilation)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        offset = tap_offsets(self.transform_matrix_conv(x), self.regular_matrix, self.groups)
        translation = self.translation_conv(x).reshape(n, self.groups, 1, 2, height, width)
        offset = (offset.reshape(n, self.groups, 9, 2, height, width) + translation).reshape(n, -1, height, width)
        return self.relu(self.bn(self.adapt_conv(x, offset)) + x)
