"""Pasting on a CPU: only the pixels that each part covers.

A part covers a tenth of its canvas or less. Its box, mapped to the output by the inverse of its theta, bounds what it
can change there, including a pixel of interpolation; elsewhere the output is the image, and no gradient flows. No
canvas is ever made: a theta that maps to the canvas, moved and scaled, maps to the box.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

MARGIN = 2.0
"""Pixels kept around what a part covers: one for interpolation, one for rounding."""


def paste(images: Tensor, texels: Tensor, boxes: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    height, width = images.shape[2:]
    sizes = torch.tensor([width, height], dtype=torch.float64)
    # Pixel i ↔ coordinate 2·(i + offset)/length − 1.
    length, offset = (sizes.sub(1).clamp(min=1), 0.0) if align_corners else (sizes, 0.5)
    windows = _windows(boxes, thetas.detach().double(), sizes, length, offset)
    to_boxes = _to_boxes(boxes, thetas, length, offset)
    xs = _coordinates(width, align_corners, thetas)
    ys = _coordinates(height, align_corners, thetas)[:, None]
    output, is_touched, end = [], False, 0
    for number, (image, places) in enumerate(zip(images, boxes.tolist(), strict=True)):
        x = image.clone()
        for slot, (x0, y0, x1, y1) in enumerate(places):
            start, end = end, end + (x1 - x0) * (y1 - y0)
            left, top, right, bottom = windows[number][slot]
            if left >= right or top >= bottom:
                continue
            is_touched = True
            theta = to_boxes[number, slot]
            grid = xs[left:right, None] * theta[:, 0] + ys[top:bottom, None] * theta[:, 1] + theta[:, 2]
            part = texels[start:end].view(1, y1 - y0, x1 - x0, 4).permute(0, 3, 1, 2)
            # Edges, not centers: a box may be one pixel wide.
            sampled = grid_sample(part, grid[None], "bilinear", "zeros", False)[0]
            color, mask = sampled[:3], sampled[3:]
            under = x[:, top:bottom, left:right]
            # The product saves its factors for the gradient, and the last line of the loop overwrites this one.
            blend = under.clone() * (1 - mask) + color * mask
            x[:, top:bottom, left:right] = blend
        output.append(x)
    result = torch.stack(output)
    # Distributed training needs a gradient for every parameter, even if no part covers any image.
    return result if is_touched or not thetas.requires_grad else result + 0 * thetas.sum()


def _coordinates(count: int, align_corners: bool, like: Tensor) -> Tensor:
    """Return the coordinates of ``count`` pixels, in −1…1."""
    steps = torch.arange(count, dtype=like.dtype, device=like.device)
    if align_corners:
        return steps * (2 / max(count - 1, 1)) - 1 if count > 1 else torch.zeros_like(steps)
    return (2 * steps + 1) / count - 1


def _to_boxes(boxes: Tensor, thetas: Tensor, length: Tensor, offset: float) -> Tensor:
    """Return ``(N, S, 2, 3)`` maps from output coordinates to those of each box, whose outer edges are −1 and 1."""
    low, high = boxes[..., :2].double(), boxes[..., 2:].double()
    size = (high - low).clamp(min=1)
    # Canvas coordinate c → pixel (c + 1)·length/2 − offset → box coordinate 2·(pixel − low + ½)/size − 1.
    factor = length / size
    shift = (length - 2 * offset - 2 * low + 1) / size - 1
    moved = torch.cat([torch.zeros(*shift.shape, 2, dtype=shift.dtype), shift[..., None]], -1)
    return thetas * factor[..., None].to(thetas.dtype) + moved.to(thetas.dtype)


def _windows(boxes: Tensor, thetas: Tensor, sizes: Tensor, length: Tensor, offset: float) -> list[list[list[int]]]:
    """Return left, top, right, bottom (exclusive) of the pixels that the part in each slot may cover."""
    # Texels are the pixels low … high − 1.
    low, high = boxes[..., :2].double() - MARGIN, boxes[..., 2:].double() - 1 + MARGIN
    corners = torch.stack([torch.stack([x[..., 0], y[..., 1]], -1) for x in (low, high) for y in (low, high)], 2)
    places = 2 * (corners + offset) / length - 1
    # theta = [A | t] maps output to canvas; its inverse is A⁻¹·(position − t).
    inverse = torch.linalg.inv(thetas[..., :2])
    back = torch.einsum("nsij,nscj->nsci", inverse, places - thetas[:, :, None, :, 2])
    pixels = (back + 1) * length / 2 - offset
    first = pixels.amin(2).floor().clamp(min=0)
    last = (pixels.amax(2).ceil() + 1).minimum(sizes)
    last = torch.where((boxes[..., 2:] > boxes[..., :2]).all(-1, keepdim=True), last, torch.zeros_like(last))
    windows: list[list[list[int]]] = torch.cat([first, last], -1).long().tolist()
    return windows
