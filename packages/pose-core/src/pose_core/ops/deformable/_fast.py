"""Inference on a CPU: samples as weighted sums of four rows of a table, then one matrix product.

With channels last a sample is a weighted sum of four contiguous rows, which is what an embedding bag computes, limited
only by memory bandwidth. The image is padded with zeros, so that no tap needs a bounds check.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2**19
"""Sampled values per chunk: they stay in the cache until they are multiplied."""


def deform_conv(x: Tensor, offset: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve without gradients; there is one group of offsets, or as many as the weight has."""
    n, channels, height, width = x.shape
    outputs, per_group = weight.shape[:2]
    groups, offset_groups = channels // per_group, offset.shape[1] // 18
    assert offset_groups in (1, groups)
    per_offset = channels // offset_groups
    places = height * width
    with torch.no_grad():
        table = F.pad(x, (1, 2, 1, 2)).reshape(n, offset_groups, per_offset, -1).transpose(2, 3).contiguous()
        # Rows are tap-major, then the channels of one group of offsets.
        product = weight.reshape(groups, outputs // groups, per_group, 9).permute(0, 3, 2, 1).contiguous()
        output = x.new_empty(n, outputs, places)
        moved = offset.reshape(n, offset_groups, 18, places).transpose(2, 3)
        base = _places(height, width, dilation, x.dtype)
        step = max(CHUNK // (9 * per_offset), 64)
        for image in range(n):
            for group in range(offset_groups):
                for start in range(0, places, step):
                    part = slice(start, start + step)
                    at = base[part] + moved[image, group, part].reshape(-1, 9, 2)
                    index, share = _corners(at, height, width)
                    sampled = F.embedding_bag(index, table[image, group], per_sample_weights=share, mode="sum")
                    _multiply(sampled, product, output[image], group, groups, offset_groups, part)
    return output.reshape(n, outputs, height, width)


@lru_cache(maxsize=8)
def _places(height: int, width: int, dilation: int, dtype: torch.dtype) -> Tensor:
    """Return the taps' positions without offsets, ``(H·W, 9, 2)`` as y, x."""
    pixels = torch.cartesian_prod(torch.arange(height, dtype=dtype), torch.arange(width, dtype=dtype))
    taps = torch.arange(-1, 2, dtype=dtype) * dilation
    return pixels[:, None] + torch.cartesian_prod(taps, taps)


def _corners(at: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the four rows of the padded table around each position, ``(P·9, 4)``, and their weights."""
    # More than one pixel outside, everything is zero, so positions may be clamped.
    y, x = at.unbind(-1)
    y, x = y.clamp(-1, height), x.clamp(-1, width)
    top, left = y.floor(), x.floor()
    down, right = y.sub_(top), x.sub_(left)
    first = left.add_(width + 4).add_(top, alpha=width + 3).to(torch.int32)
    index = torch.stack([first, first + 1, first + (width + 3), first + (width + 4)], -1)
    up, before = 1 - down, 1 - right
    share = torch.stack([up * before, up * right, down * before, down * right], -1)
    return index.view(-1, 4), share.view(-1, 4)


def _multiply(
    sampled: Tensor, product: Tensor, out: Tensor, group: int, groups: int, offset_groups: int, part: slice
) -> None:
    """Add one chunk's outputs; ``sampled`` is ``(P·9, C)``."""
    if offset_groups == groups:
        per_group = product.shape[3]
        rows = sampled.reshape(-1, 9 * sampled.shape[1])
        torch.mm(product[group].flatten(0, 1).T, rows.T, out=out[group * per_group : (group + 1) * per_group, part])
        return
    rows = sampled.reshape(-1, 9, groups, product.shape[2]).permute(2, 0, 1, 3).flatten(2)
    out[:, part] = (rows @ product.flatten(1, 2)).permute(0, 2, 1).flatten(0, 1)
