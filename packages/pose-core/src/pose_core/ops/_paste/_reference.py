"""What pasting is: one sampling of all parts with their masks, then the slots one over the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def paste(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    """See ``pose_core.ops.paste``."""
    warped, soft = warp(parts, masks, thetas, align_corners=align_corners)
    x = images
    for slot in range(parts.shape[1]):
        x = x * (1 - soft[:, slot]) + warped[:, slot] * soft[:, slot]
    return x


def warp(parts: Tensor, masks: Tensor, thetas: Tensor, *, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Parts and masks where their thetas put them, in the shapes they came in; bilinear, zero outside."""
    count, slots, channels, height, width = parts.shape
    stacked = torch.cat([parts, masks], 2).reshape(count * slots, channels + 1, height, width)
    grid = affine_grid(thetas.reshape(count * slots, 2, 3), [*stacked.shape], align_corners=align_corners)
    warped = grid_sample(stacked, grid, "bilinear", "zeros", align_corners)
    warped = warped.reshape(count, slots, channels + 1, height, width)
    return warped[:, :, :channels], warped[:, :, channels:]
