"""Crop by crop: each pixel interpolates its four neighbors in the image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor


def warp_crops(images: Sequence[Tensor], image_of: Tensor, to_image: Tensor, size: tuple[int, int]) -> Tensor:
    width, height = size
    crops = torch.empty(len(to_image), height, width, 3, dtype=torch.uint8, device=to_image.device)
    for crop, number, matrix in zip(crops, image_of.tolist(), to_image.double(), strict=True):
        crop.copy_(_warp(images[number], matrix, width, height).round().permute(1, 2, 0))
    return crops


def _warp(image: Tensor, matrix: Tensor, width: int, height: int) -> Tensor:
    """Return a crop ``(3, height, width)`` float64 of an image ``(3, h, w)``."""
    column = torch.arange(width, dtype=matrix.dtype, device=matrix.device)
    row = torch.arange(height, dtype=matrix.dtype, device=matrix.device)[:, None]
    x, y = (a * column + b * row + c for a, b, c in matrix)
    left, top = x.floor(), y.floor()
    crop = torch.zeros(3, height, width, dtype=matrix.dtype, device=matrix.device)
    for right, below in product((0, 1), (0, 1)):
        across = x - left if right else 1 - (x - left)
        down = y - top if below else 1 - (y - top)
        i, j = left + right, top + below
        inside = (i >= 0) & (i < image.shape[2]) & (j >= 0) & (j < image.shape[1])
        i, j = i.clamp(0, image.shape[2] - 1).long(), j.clamp(0, image.shape[1] - 1).long()
        crop += across * down * inside * image[:, j, i]
    return crop
