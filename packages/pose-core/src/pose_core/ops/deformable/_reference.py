"""The plain definition, in PyTorch, differentiable in everything."""

from __future__ import annotations

import torch
from torch import Tensor


def deform_conv(x: Tensor, offset: Tensor, weight: Tensor, dilation: int) -> Tensor:
    n, channels, height, width = x.shape
    outputs, per_group = weight.shape[:2]
    groups, offset_groups = channels // per_group, offset.shape[1] // 18
    moved = offset.reshape(n, offset_groups, 9, 2, height * width)
    rows = torch.arange(height, device=x.device, dtype=x.dtype).repeat_interleave(width)
    columns = torch.arange(width, device=x.device, dtype=x.dtype).repeat(height)
    taps = torch.arange(-1, 2, device=x.device, dtype=x.dtype) * dilation
    y = rows + taps.repeat_interleave(3)[:, None] + moved[:, :, :, 0]
    x_at = columns + taps.repeat(3)[:, None] + moved[:, :, :, 1]
    top, left = y.floor(), x_at.floor()
    source = x.reshape(n, offset_groups, -1, 1, height * width)
    sampled = x.new_zeros(())
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = top + dy, left + dx
            share = (1 - (y - row).abs()) * (1 - (x_at - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            index = index[:, :, None].expand(-1, -1, source.shape[2], -1, -1)
            values = source.expand(-1, -1, -1, 9, -1).gather(4, index)
            sampled = sampled + values * (share * inside)[:, :, None]
    patches = sampled.reshape(n, groups, per_group * 9, height * width)
    output = weight.reshape(groups, outputs // groups, per_group * 9) @ patches
    return output.reshape(n, outputs, height, width)
