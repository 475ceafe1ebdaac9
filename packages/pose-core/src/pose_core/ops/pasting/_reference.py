"""Literal implementation: parts on canvases, sampled with their masks, then pasted slot by slot."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def paste(images: Tensor, texels: Tensor, boxes: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    parts, masks = unpack(texels, boxes, (images.shape[2], images.shape[3]))
    warped, soft = warp(parts, masks, thetas, align_corners=align_corners)
    x = images
    for slot in range(parts.shape[1]):
        x = x * (1 - soft[:, slot]) + warped[:, slot] * soft[:, slot]
    return x


def warp(parts: Tensor, masks: Tensor, thetas: Tensor, *, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Return parts ``(N, S, 3, H, W)`` and masks ``(N, S, 1, H, W)`` moved by their thetas; bilinear, zero outside."""
    count, slots, channels, height, width = parts.shape
    stacked = torch.cat([parts, masks], 2).reshape(count * slots, channels + 1, height, width)
    grid = affine_grid(thetas.reshape(count * slots, 2, 3), [*stacked.shape], align_corners=align_corners)
    warped = grid_sample(stacked, grid, "bilinear", "zeros", align_corners)
    warped = warped.reshape(count, slots, channels + 1, height, width)
    return warped[:, :, :channels], warped[:, :, channels:]


def unpack(texels: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Unpack parts to canvases of ``size`` (h, w): parts ``(N, S, 3, H, W)``, masks ``(N, S, 1, H, W)``."""
    count, slots, _ = boxes.shape
    canvases = texels.new_zeros(count, slots, 4, *size)
    start = 0
    for number in range(count):
        for slot, (left, top, right, bottom) in enumerate(boxes[number].tolist()):
            end = start + (right - left) * (bottom - top)
            part = texels[start:end].reshape(bottom - top, right - left, 4).permute(2, 0, 1)
            canvases[number, slot, :, top:bottom, left:right] = part
            start = end
    return canvases[:, :, :3], canvases[:, :, 3:]


def pack(parts: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Pack canvases ``(N, S, 3, H, W)`` and masks ``(N, S, 1, H, W)`` into texels and boxes, see `paste`."""
    count, slots = parts.shape[:2]
    canvases = torch.cat([parts, masks], 2)
    boxes = torch.zeros(count, slots, 4, dtype=torch.int32)
    texels = []
    for number in range(count):
        for slot in range(slots):
            rows, columns = (torch.nonzero((masks[number, slot, 0] > 0).any(side)).flatten() for side in (1, 0))
            if not len(rows):
                continue
            left, top, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            boxes[number, slot] = torch.tensor([left, top, right, bottom])
            texels.append(canvases[number, slot, :, top:bottom, left:right].permute(1, 2, 0).reshape(-1, 4))
    return torch.cat(texels) if texels else canvases.new_zeros(0, 4), boxes.to(parts.device)
