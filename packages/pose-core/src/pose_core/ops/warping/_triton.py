"""All crops of a batch in one launch on a GPU, from images of any sizes; only bytes are read and written."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256


@triton.jit
def _corner(image, i, j, width, height, weight, valid):
    """Return the weighted channels of one of the four neighbors; zero beyond the image."""
    inside = valid & (i >= 0) & (i < width) & (j >= 0) & (j < height)
    place = image + j.to(tl.int64) * width + i
    plane = width.to(tl.int64) * height
    first = tl.load(place, mask=inside, other=0).to(tl.float32)
    second = tl.load(place + plane, mask=inside, other=0).to(tl.float32)
    third = tl.load(place + 2 * plane, mask=inside, other=0).to(tl.float32)
    return first * weight, second * weight, third * weight


@triton.jit
def _kernel(pixels, starts, sizes, image_of, to_image, crops, width, count, BLOCK: tl.constexpr):
    crop = tl.program_id(0).to(tl.int64)
    index = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    valid = index < count
    number = tl.load(image_of + crop)
    image = pixels + tl.load(starts + number)
    image_height, image_width = tl.load(sizes + number * 2), tl.load(sizes + number * 2 + 1)
    column, row = (index % width).to(tl.float32), (index // width).to(tl.float32)
    matrix = to_image + crop * 6
    x = tl.load(matrix) * column + tl.load(matrix + 1) * row + tl.load(matrix + 2)
    y = tl.load(matrix + 3) * column + tl.load(matrix + 4) * row + tl.load(matrix + 5)
    left, top = tl.floor(x), tl.floor(y)
    u, v = x - left, y - top
    i, j = left.to(tl.int32), top.to(tl.int32)
    a0, a1, a2 = _corner(image, i, j, image_width, image_height, (1 - u) * (1 - v), valid)
    b0, b1, b2 = _corner(image, i + 1, j, image_width, image_height, u * (1 - v), valid)
    c0, c1, c2 = _corner(image, i, j + 1, image_width, image_height, (1 - u) * v, valid)
    d0, d1, d2 = _corner(image, i + 1, j + 1, image_width, image_height, u * v, valid)
    place = crops + (crop * count + index) * 3
    tl.store(place, (a0 + b0 + c0 + d0 + 0.5).to(tl.int32).to(tl.uint8), mask=valid)
    tl.store(place + 1, (a1 + b1 + c1 + d1 + 0.5).to(tl.int32).to(tl.uint8), mask=valid)
    tl.store(place + 2, (a2 + b2 + c2 + d2 + 0.5).to(tl.int32).to(tl.uint8), mask=valid)


def warp_crops(images: Sequence[Tensor], image_of: Tensor, to_image: Tensor, size: tuple[int, int]) -> Tensor:
    lengths = torch.tensor([0, *(image.numel() for image in images[:-1])])
    sizes = torch.tensor([image.shape[1:] for image in images], dtype=torch.int32)
    device = to_image.device
    pixels = torch.cat([image.reshape(-1) for image in images])
    return warp(
        pixels, lengths.cumsum(0).to(device), sizes.to(device), image_of, to_image.float().contiguous(), [*size]
    )


@torch.library.custom_op("pose::warp_crops", mutates_args=())
def warp(pixels: Tensor, starts: Tensor, sizes: Tensor, image_of: Tensor, to_image: Tensor, size: list[int]) -> Tensor:
    """Warp images stored plane by plane in ``pixels``, from ``starts`` ``(M,)`` on; ``sizes`` ``(M, 2)`` h, w."""
    width, height = size
    crops = torch.empty(len(to_image), height, width, 3, dtype=torch.uint8, device=pixels.device)
    grid = (len(to_image), triton.cdiv(width * height, BLOCK))
    with torch.cuda.device_of(pixels):
        _kernel[grid](pixels, starts, sizes, image_of, to_image, crops, width, width * height, BLOCK=BLOCK)
    return crops


@warp.register_fake
def _(pixels: Tensor, starts: Tensor, sizes: Tensor, image_of: Tensor, to_image: Tensor, size: list[int]) -> Tensor:
    return pixels.new_empty(len(to_image), size[1], size[0], 3)
