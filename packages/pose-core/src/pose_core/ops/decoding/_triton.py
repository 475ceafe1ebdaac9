"""Peak and quarter offset of a map in one pass on a GPU, fused with the mirrored map where there is one."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _value(plain, mirrored, index, width, valid, FLIP: tl.constexpr, SHIFT: tl.constexpr):
    """Return the fused map at flat pixels ``index``; column x mirrored is column W − 1 − x, or W − x shifted."""
    value = tl.load(plain + index, mask=valid, other=-float("inf")).to(tl.float32)
    if FLIP:
        x = index % width
        back = width - 1 - x
        if SHIFT:
            back = tl.where(x == 0, width - 1, width - x)
        other = tl.load(mirrored + index - x + back, mask=valid, other=-float("inf")).to(tl.float32)
        value = (value + other) * 0.5
    return value


@triton.jit
def _kernel(
    plain, mirrored, order, output, joints, pixels, width,
    FLIP: tl.constexpr, SHIFT: tl.constexpr, QUARTER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    plain += row * pixels
    if FLIP:
        partner = tl.load(order + row % joints)
        mirrored += (row // joints * joints + partner) * pixels
    best = -float("inf")
    place = 0
    for start in range(0, pixels, BLOCK):
        index = start + tl.arange(0, BLOCK)
        value = _value(plain, mirrored, index, width, index < pixels, FLIP, SHIFT)
        top = tl.max(value, axis=0)
        # The first maximum counts: a later block must be greater to win.
        here = start + tl.argmax(value, axis=0, tie_break_left=True)
        place = tl.where(top > best, here, place)
        best = tl.maximum(best, top)
    positive = best > 0
    place = tl.where(positive, place, 0)
    column = place % width
    line = place // width
    x = column.to(tl.float32)
    y = line.to(tl.float32)
    if QUARTER:
        height = pixels // width
        inside = (column > 1) & (column < width - 1) & (line > 1) & (line < height - 1)
        right = _value(plain, mirrored, place + 1, width, inside, FLIP, SHIFT)
        left = _value(plain, mirrored, place - 1, width, inside, FLIP, SHIFT)
        below = _value(plain, mirrored, place + width, width, inside, FLIP, SHIFT)
        above = _value(plain, mirrored, place - width, width, inside, FLIP, SHIFT)
        x += tl.where(inside, 0.25 * ((right > left).to(tl.float32) - (right < left).to(tl.float32)), 0.0)
        y += tl.where(inside, 0.25 * ((below > above).to(tl.float32) - (below < above).to(tl.float32)), 0.0)
    tl.store(output + row * 3, x)
    tl.store(output + row * 3 + 1, y)
    tl.store(output + row * 3 + 2, best)


def decode(
    plain: Tensor, mirrored: Tensor | None, order: Tensor | None, *, shift: bool, quarter: bool
) -> tuple[Tensor, Tensor]:
    """Return keypoints ``(N, K, 2)`` and scores ``(N, K)`` of maps ``(N, K, H, W)``, fused with a mirror image's.

    ``mirrored`` are the maps as the network gave them for the mirrored images, ``order`` ``(K,)`` swaps left and right.
    """
    output = peaks(plain, mirrored, order, shift, quarter)
    return output[..., :2], output[..., 2]


@torch.library.custom_op("pose::decode_heatmaps", mutates_args=())
def peaks(plain: Tensor, mirrored: Tensor | None, order: Tensor | None, shift: bool, quarter: bool) -> Tensor:
    """Return x, y and score ``(N, K, 3)`` float32, see `decode`."""
    count, number, height, width = plain.shape
    output = torch.empty((count, number, 3), device=plain.device, dtype=torch.float32)
    maps = plain.contiguous()
    others = maps if mirrored is None else mirrored.contiguous()
    swap = torch.zeros(1, dtype=torch.int64, device=plain.device) if order is None else order
    with torch.cuda.device_of(plain):
        _kernel[(count * number,)](
            maps, others, swap, output, number, height * width, width,
            FLIP=mirrored is not None, SHIFT=shift, QUARTER=quarter, BLOCK=BLOCK,
        )  # fmt: skip
    return output


@peaks.register_fake
def _(plain: Tensor, mirrored: Tensor | None, order: Tensor | None, shift: bool, quarter: bool) -> Tensor:
    return plain.new_empty((*plain.shape[:2], 3), dtype=torch.float32)
