"""Pasting on a CPU: every part only where it lands.

A part covers a tenth of its canvas or less. Its mask's bounds, taken to the output by the inverse of its theta, bound
what it can change there, a pixel of interpolation included; elsewhere the output is the image, and no gradient flows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

MARGIN = 2.0
"""Pixels kept around what a part covers: one for interpolation, one for rounding."""


def paste(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    """See ``pose_core.ops.paste``."""
    height, width = images.shape[2:]
    windows = _windows(masks, thetas.detach().double(), align_corners)
    xs = _coordinates(width, align_corners, thetas)
    ys = _coordinates(height, align_corners, thetas)
    output, is_touched = [], False
    for number, image in enumerate(images):
        x = image.clone()
        for slot, (left, top, right, bottom) in enumerate(windows[number]):
            if left >= right or top >= bottom:
                continue
            is_touched = True
            theta = thetas[number, slot]
            column, row = xs[left:right], ys[top:bottom]
            grid = column[None, :, None] * theta[:, 0] + row[:, None, None] * theta[:, 1] + theta[:, 2]
            part = grid_sample(parts[number, slot][None], grid[None], "bilinear", "zeros", align_corners)[0]
            mask = grid_sample(masks[number, slot][None], grid[None], "bilinear", "zeros", align_corners)[0]
            under = x[:, top:bottom, left:right]
            # The product keeps its factors for the gradient, and the next lines write over this one.
            blend = under.clone() * (1 - mask) + part * mask
            x[:, top:bottom, left:right] = blend
        output.append(x)
    result = torch.stack(output)
    # Several processes wait for a gradient of every parameter, also where no part came to lie on any image.
    return result if is_touched or not thetas.requires_grad else result + 0 * thetas.sum()


def _coordinates(count: int, align_corners: bool, like: Tensor) -> Tensor:
    """The ``(count,)`` pixels' places in −1…1."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    if align_corners:
        return steps * (2 / max(count - 1, 1)) - 1 if count > 1 else torch.zeros_like(steps)
    return (2 * steps + 1) / count - 1


def _windows(masks: Tensor, thetas: Tensor, align_corners: bool) -> list[list[list[int]]]:
    """For each image and slot: left, top, right, bottom (exclusive) of what the part may cover."""
    height, width = masks.shape[3:]
    covered = masks[:, :, 0] > 0
    x0, x1 = _bounds(covered.any(2))
    y0, y1 = _bounds(covered.any(3))
    sizes = torch.tensor([width, height], dtype=thetas.dtype)
    # Pixel i ↔ coordinate 2·(i + offset)/length − 1.
    length, offset = (sizes.sub(1).clamp(min=1), 0.0) if align_corners else (sizes, 0.5)
    corners = torch.stack(
        [torch.stack([x, y], -1) for x in (x0 - MARGIN, x1 + MARGIN) for y in (y0 - MARGIN, y1 + MARGIN)], 2
    )
    places = 2 * (corners.to(thetas.dtype) + offset) / length - 1
    # theta = [A | t] maps output to canvas: back is A⁻¹·(place − t).
    inverse = torch.linalg.inv(thetas[..., :2])
    back = torch.einsum("nsij,nscj->nsci", inverse, places - thetas[:, :, None, :, 2])
    pixels = (back + 1) * length / 2 - offset
    low = pixels.amin(2).floor().clamp(min=0)
    high = (pixels.amax(2).ceil() + 1).minimum(sizes)
    high = torch.where((x1 >= x0)[..., None], high, torch.zeros_like(high))
    found: list[list[list[int]]] = torch.cat([low, high], -1).long().tolist()
    return found


def _bounds(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and last true place of ``(N, S, L)``; the last is before the first where there is none."""
    length = line.shape[2]
    places = torch.arange(length)
    return (
        torch.where(line, places, length).amin(2),
        torch.where(line, places, -1).amax(2),
    )
