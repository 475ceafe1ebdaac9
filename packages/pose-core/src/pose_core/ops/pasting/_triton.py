"""Pasting in one pass on a GPU: every pixel of an image is read and written once, regardless of the number of parts.

No canvas, grid or layer is ever stored: backward recomputes the pixels below a part. Tiles that a part does not reach
skip it, so that many parts cost little where they do not overlap.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 16
"""Side of a tile, small: a pixel takes many registers, and small tiles can skip more parts."""
KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Type of all tensors → type that the kernels compute in."""


@triton.jit
def _pixels(tile, height, width, TILE: tl.constexpr):
    """Return columns and rows of a tile's pixels, and which are in the image."""
    across = tl.cdiv(width, TILE)
    number = tl.arange(0, TILE * TILE)
    x = tile % across * TILE + number % TILE
    y = tile // across * TILE + number // TILE
    return x, y, (x < width) & (y < height)


@triton.jit
def _places(x, y, length_x, length_y, OFFSET: tl.constexpr, KIND: tl.constexpr):
    """Return the pixels' coordinates, in −1…1."""
    return 2.0 * (x.to(KIND) + OFFSET) / length_x - 1.0, 2.0 * (y.to(KIND) + OFFSET) / length_y - 1.0


@triton.jit
def _locate(theta, box, u, v, valid, length_x, length_y, OFFSET: tl.constexpr):
    """Return the pixels of a part's canvas that are sampled, and which lie in its box or one pixel around it."""
    x = tl.load(theta) * u + tl.load(theta + 1) * v + tl.load(theta + 2)
    y = tl.load(theta + 3) * u + tl.load(theta + 4) * v + tl.load(theta + 5)
    x = (x + 1.0) * length_x / 2.0 - OFFSET
    y = (y + 1.0) * length_y / 2.0 - OFFSET
    is_near = valid & (x > tl.load(box) - 1.0) & (x < tl.load(box + 2))
    return x, y, is_near & (y > tl.load(box + 1) - 1.0) & (y < tl.load(box + 3))


@triton.jit
def _texel(texels, box, column, row, is_near):
    """Return color and mask of one pixel of a part, zero outside its box; ``texels`` points to the part's own."""
    left, top, right, bottom = tl.load(box), tl.load(box + 1), tl.load(box + 2), tl.load(box + 3)
    inside = is_near & (column >= left) & (column < right) & (row >= top) & (row < bottom)
    place = texels + 4 * ((row - top) * (right - left) + (column - left))
    red = tl.load(place, mask=inside, other=0.0)
    green = tl.load(place + 1, mask=inside, other=0.0)
    blue = tl.load(place + 2, mask=inside, other=0.0)
    return red, green, blue, tl.load(place + 3, mask=inside, other=0.0)


@triton.jit
def _interpolate(a, b, c, d, x, y):
    """Interpolate four pixels, in reading order: the value, and its slopes to the right and down."""
    above = a + (b - a) * x
    below = c + (d - c) * x
    return above + (below - above) * y, (b - a) * (1.0 - y) + (d - c) * y, below - above


@triton.jit
def _sample(texels, box, x, y, is_near):
    """Return red, green, blue and mask at canvas pixels, each with its slopes to the right and down."""
    # Nothing is loaded there: any number that fits an integer works.
    x = tl.where(is_near, x, 0.0)
    y = tl.where(is_near, y, 0.0)
    column, row = tl.floor(x), tl.floor(y)
    right, down = x - column, y - row
    left, top = column.to(tl.int32), row.to(tl.int32)
    r0, g0, b0, m0 = _texel(texels, box, left, top, is_near)
    r1, g1, b1, m1 = _texel(texels, box, left + 1, top, is_near)
    r2, g2, b2, m2 = _texel(texels, box, left, top + 1, is_near)
    r3, g3, b3, m3 = _texel(texels, box, left + 1, top + 1, is_near)
    r, rx, ry = _interpolate(r0, r1, r2, r3, right, down)
    g, gx, gy = _interpolate(g0, g1, g2, g3, right, down)
    b, bx, by = _interpolate(b0, b1, b2, b3, right, down)
    m, mx, my = _interpolate(m0, m1, m2, m3, right, down)
    return r, rx, ry, g, gx, gy, b, bx, by, m, mx, my


@triton.jit
def _lay(
    texels, boxes, starts, thetas, part, u, v, valid, length_x, length_y, red, green, blue, OFFSET: tl.constexpr
):  # fmt: skip
    """Paste one more part over the pixels."""
    box = boxes + part * 4
    x, y, is_near = _locate(thetas + part * 6, box, u, v, valid, length_x, length_y, OFFSET)
    if tl.max(is_near.to(tl.int32), 0) > 0:
        own = texels + 4 * tl.load(starts + part)
        r, _rx, _ry, g, _gx, _gy, b, _bx, _by, m, _mx, _my = _sample(own, box, x, y, is_near)
        red = red * (1.0 - m) + r * m
        green = green * (1.0 - m) + g * m
        blue = blue * (1.0 - m) + b * m
    return red, green, blue


@triton.jit
def _forward(
    images, texels, boxes, starts, thetas, output, slots, height, width, length_x, length_y,
    OFFSET: tl.constexpr, KIND: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    x, y, valid = _pixels(tl.program_id(1), height, width, TILE)
    u, v = _places(x, y, length_x, length_y, OFFSET, KIND)
    plane = height * width
    index = image * 3 * plane + y * width + x
    red = tl.load(images + index, mask=valid, other=0.0)
    green = tl.load(images + index + plane, mask=valid, other=0.0)
    blue = tl.load(images + index + 2 * plane, mask=valid, other=0.0)
    for slot in range(slots):
        red, green, blue = _lay(
            texels, boxes, starts, thetas, image * slots + slot, u, v, valid, length_x, length_y, red, green, blue,
            OFFSET,
        )  # fmt: skip
    tl.store(output + index, red, mask=valid)
    tl.store(output + index + plane, green, mask=valid)
    tl.store(output + index + 2 * plane, blue, mask=valid)


@triton.jit
def _backward(
    images, texels, boxes, starts, thetas, upstream, to_images, to_thetas, slots, height, width, length_x, length_y,
    OFFSET: tl.constexpr, KIND: tl.constexpr, TILE: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    x, y, valid = _pixels(tile, height, width, TILE)
    u, v = _places(x, y, length_x, length_y, OFFSET, KIND)
    plane = height * width
    index = image * 3 * plane + y * width + x
    to_red = tl.load(upstream + index, mask=valid, other=0.0)
    to_green = tl.load(upstream + index + plane, mask=valid, other=0.0)
    to_blue = tl.load(upstream + index + 2 * plane, mask=valid, other=0.0)
    for later in range(slots):
        slot = slots - 1 - later
        part = image * slots + slot
        box = boxes + part * 4
        from_x, from_y, is_near = _locate(thetas + part * 6, box, u, v, valid, length_x, length_y, OFFSET)
        if tl.max(is_near.to(tl.int32), 0) > 0:
            red = tl.load(images + index, mask=valid, other=0.0)
            green = tl.load(images + index + plane, mask=valid, other=0.0)
            blue = tl.load(images + index + 2 * plane, mask=valid, other=0.0)
            for below in range(slot):
                red, green, blue = _lay(
                    texels, boxes, starts, thetas, image * slots + below, u, v, valid, length_x, length_y,
                    red, green, blue, OFFSET,
                )  # fmt: skip
            own = texels + 4 * tl.load(starts + part)
            r, rx, ry, g, gx, gy, b, bx, by, m, mx, my = _sample(own, box, from_x, from_y, is_near)
            to_mask = to_red * (r - red) + to_green * (g - green) + to_blue * (b - blue)
            to_x = (m * (to_red * rx + to_green * gx + to_blue * bx) + to_mask * mx) * length_x / 2.0
            to_y = (m * (to_red * ry + to_green * gy + to_blue * by) + to_mask * my) * length_y / 2.0
            sums = to_thetas + (part * tl.num_programs(1) + tile) * 6
            tl.store(sums, tl.sum(to_x * u, 0))
            tl.store(sums + 1, tl.sum(to_x * v, 0))
            tl.store(sums + 2, tl.sum(to_x, 0))
            tl.store(sums + 3, tl.sum(to_y * u, 0))
            tl.store(sums + 4, tl.sum(to_y * v, 0))
            tl.store(sums + 5, tl.sum(to_y, 0))
            to_red *= 1.0 - m
            to_green *= 1.0 - m
            to_blue *= 1.0 - m
    if WHOLE:
        tl.store(to_images + index, to_red, mask=valid)
        tl.store(to_images + index + plane, to_green, mask=valid)
        tl.store(to_images + index + 2 * plane, to_blue, mask=valid)


def _frame(images: Tensor, boxes: Tensor, align_corners: bool) -> tuple[tuple[int, int], tuple[Any, ...], float]:
    """Return the grid of programs, their sizes, and the offset of a pixel's center from its index."""
    count, _, height, width = images.shape
    tiles = triton.cdiv(height, TILE) * triton.cdiv(width, TILE)
    lengths = (width - 1, height - 1) if align_corners else (width, height)
    return (count, tiles), (boxes.shape[1], height, width, *lengths), 0.0 if align_corners else 0.5


@torch.library.custom_op("pose::paste", mutates_args=())
def composite(
    images: Tensor, texels: Tensor, boxes: Tensor, starts: Tensor, thetas: Tensor, align_corners: bool
) -> Tensor:
    """Paste contiguous tensors of one float type; ``boxes`` int32, ``starts`` ``(N, S)`` int64."""
    output = torch.empty_like(images)
    grid, sizes, offset = _frame(images, boxes, align_corners)
    with torch.cuda.device_of(images):
        _forward[grid](
            images, texels, boxes, starts, thetas, output, *sizes, OFFSET=offset, KIND=KINDS[images.dtype], TILE=TILE
        )
    return output


@composite.register_fake
def _(images: Tensor, texels: Tensor, boxes: Tensor, starts: Tensor, thetas: Tensor, align_corners: bool) -> Tensor:
    return torch.empty_like(images)


@torch.library.custom_op("pose::paste_gradient", mutates_args=())
def gradients(
    upstream: Tensor, images: Tensor, texels: Tensor, boxes: Tensor, starts: Tensor, thetas: Tensor,
    align_corners: bool, whole: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the gradients of images (empty unless ``whole``) and of thetas; tiles are always summed in one order."""
    grid, sizes, offset = _frame(images, boxes, align_corners)
    to_images = torch.empty_like(images) if whole else images.new_empty(0)
    # Tiles that a part does not reach write nothing.
    to_thetas = thetas.new_zeros(*boxes.shape[:2], grid[1], 6)
    with torch.cuda.device_of(images):
        _backward[grid](
            images, texels, boxes, starts, thetas, upstream, to_images, to_thetas, *sizes, OFFSET=offset,
            KIND=KINDS[images.dtype], TILE=TILE, WHOLE=whole,
        )  # fmt: skip
    return to_images, to_thetas.sum(2).reshape(thetas.shape)


@gradients.register_fake
def _(
    upstream: Tensor, images: Tensor, texels: Tensor, boxes: Tensor, starts: Tensor, thetas: Tensor,
    align_corners: bool, whole: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(images) if whole else images.new_empty(0), torch.empty_like(thetas)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.align_corners = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None, None, Tensor, None]:
    whole = ctx.needs_input_grad[0]
    to_images, to_thetas = gradients(upstream.contiguous(), *ctx.saved_tensors, ctx.align_corners, whole)
    return to_images if whole else None, None, None, None, to_thetas, None


composite.register_autograd(_differentiate, setup_context=_save_inputs)


def paste(images: Tensor, texels: Tensor, boxes: Tensor, thetas: Tensor, *, align_corners: bool) -> Tensor:
    """Paste in float64 if any tensor is, in float32 otherwise."""
    kind = torch.promote_types(torch.promote_types(images.dtype, texels.dtype), thetas.dtype)
    kind = kind if kind == torch.float64 else torch.float32
    places = boxes.to(torch.int32).contiguous()
    areas = ((places[..., 2] - places[..., 0]) * (places[..., 3] - places[..., 1])).flatten().long()
    starts = (areas.cumsum(0) - areas).reshape(places.shape[:2])
    plain = [tensor.to(kind).contiguous() for tensor in (images, texels, thetas)]
    output: Tensor = composite(plain[0], plain[1], places, starts, plain[2], align_corners)
    return output
