"""Layers that upsample a backbone's features to the heatmaps' resolution."""

from __future__ import annotations

from math import gcd

from torch import nn

from pose_core.errors import ConfigError

_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}
"""Kernel of a stride-2 transposed convolution → padding and output padding that double the side exactly."""


def doubling(inputs: int, outputs: int, kernel: int = 4, groups: int = 1) -> nn.ConvTranspose2d:
    """Return a transposed convolution that doubles height and width, without bias."""
    if kernel not in _PADDING:
        raise ConfigError(f"a transposed convolution of kernel {kernel} does not double the side: use 4, 3 or 2")
    padding, extra = _PADDING[kernel]
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, extra, groups=groups, bias=False)


def up_unit(inputs: int, outputs: int, kernel: int = 4) -> list[nn.Module]:
    """Return a transposed convolution, batch norm and ReLU."""
    return [doubling(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def grouped_up_unit(inputs: int, outputs: int, kernel: int = 4) -> list[nn.Module]:
    """Return a transposed convolution in as many groups as fit, then a 1×1 convolution to mix them (LPN's head)."""
    return [
        doubling(inputs, outputs, kernel, groups=gcd(inputs, outputs)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def final_conv(inputs: int, num_joints: int, kernel: int = 1) -> nn.Conv2d:
    """Return the convolution that outputs the heatmaps, with bias."""
    return nn.Conv2d(inputs, num_joints, kernel, padding=kernel // 2)
