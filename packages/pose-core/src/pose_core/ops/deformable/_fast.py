"""Inference on a CPU: samples as weighted sums of four rows of a table, then one matrix product.

With channels last a sample is a weighted sum of four contiguous rows, which is what an embedding bag computes, limited
only by memory bandwidth. The image is padded with zeros, so that no tap needs a bounds check. Positions and weights are
computed in planes, one per tap and corner, and transposed at the end: writing them interleaved takes three times as
long.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 2**18
"""Sampled values per chunk and thread: they stay in the cache until they are multiplied."""
WIDE = 4
"""Chunks whose positions are computed together."""
ROW = 8
"""Channels of the table are padded to a multiple of this: rows of a whole number of vector registers."""


def deform_conv(x: Tensor, offset: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """Convolve without gradients; there is one group of offsets, or as many as the weight has."""
    n, channels, height, width = x.shape
    outputs, per_group = weight.shape[:2]
    groups, offset_groups = channels // per_group, offset.shape[1] // 18
    assert offset_groups in (1, groups)
    places, per_offset = height * width, channels // offset_groups
    padding = -per_offset % ROW if offset_groups == groups else 0
    with torch.no_grad():
        table = x.new_zeros(n, offset_groups, height + 3, width + 3, per_offset + padding)
        inside = table[:, :, 1 : height + 1, 1 : width + 1, :per_offset]
        inside.copy_(x.reshape(n, offset_groups, per_offset, height, width).permute(0, 1, 3, 4, 2))
        table = table.flatten(2, 3)
        # Rows are outputs; columns are tap-major, then the channels of one group of offsets.
        product = weight.reshape(groups, outputs // groups, per_group, 9).transpose(2, 3)
        product = F.pad(product, (0, padding)).flatten(2).contiguous()
        output = x.new_empty(n, outputs, places)
        moved = offset.reshape(n, offset_groups, 9, 2, places)
        base = _places(height, width, dilation, x.dtype)
        step = max(CHUNK * torch.get_num_threads() // (9 * table.shape[3]), 64)
        for image in range(n):
            for group in range(offset_groups):
                # Positions take less room than samples: they are computed for several chunks, in fewer calls.
                for start in range(0, places, WIDE * step):
                    wide = slice(start, start + WIDE * step)
                    corners = _corners(base[..., wide] + moved[image, group, :, :, wide], height, width)
                    for index, share in zip(*(torch.split(each, 9 * step) for each in corners), strict=True):
                        sampled = F.embedding_bag(index, table[image, group], per_sample_weights=share, mode="sum")
                        part = slice(start, start + len(index) // 9)
                        _multiply(sampled, product, output[image], group, offset_groups, part)
                        start = part.stop
    return output.reshape(n, outputs, height, width)


@lru_cache(maxsize=8)
def _places(height: int, width: int, dilation: int, dtype: torch.dtype) -> Tensor:
    """Return the taps' positions without offsets, ``(9, 2, H·W)`` as y, x."""
    with torch.inference_mode(False):
        taps = torch.arange(-1, 2, dtype=dtype) * dilation
        rows, columns = torch.arange(height, dtype=dtype), torch.arange(width, dtype=dtype)
        pixels = torch.stack([rows.repeat_interleave(width), columns.repeat(height)])
        return torch.cartesian_prod(taps, taps)[..., None] + pixels


def _corners(at: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the four rows of the padded table around positions ``(9, 2, P)``, ``(P·9, 4)``, and their weights.

    ``at`` is overwritten.
    """
    # More than one pixel outside, everything is zero, so positions may be clamped.
    y, x = at[:, 0].clamp_(-1, height), at[:, 1].clamp_(-1, width)
    top, left = y.floor(), x.floor()
    down, right = y.sub_(top), x.sub_(left)
    share = at.new_empty(9, 4, at.shape[2])
    index = torch.empty_like(share, dtype=torch.int32)
    first = index[:, 0].copy_(left.add_(top, alpha=width + 3).add_(width + 4))
    for corner, step in ((1, 1), (2, width + 3), (3, width + 4)):
        torch.add(first, step, out=index[:, corner])
    up, before = 1 - down, 1 - right
    for corner, (vertical, horizontal) in enumerate(((up, before), (up, right), (down, before), (down, right))):
        torch.mul(vertical, horizontal, out=share[:, corner])
    return _transposed(index), _transposed(share)


def _transposed(planes: Tensor) -> Tensor:
    """Return planes ``(9, 4, P)`` as rows ``(P·9, 4)``; OpenCV takes a third of PyTorch's time."""
    return torch.from_numpy(np.asarray(cv2.transpose(planes.view(36, -1).numpy()))).view(-1, 4)


def _multiply(sampled: Tensor, product: Tensor, out: Tensor, group: int, offset_groups: int, part: slice) -> None:
    """Write one chunk's outputs; ``sampled`` is ``(P·9, C)``, ``product`` ``(groups, outputs per group, 9·C)``."""
    groups, per_group = product.shape[:2]
    if offset_groups == groups:
        rows = sampled.view(-1, product.shape[2])
        torch.mm(product[group], rows.T, out=out[group * per_group : (group + 1) * per_group, part])
        return
    rows = sampled.reshape(-1, 9, groups, product.shape[2] // 9).permute(2, 0, 1, 3).flatten(2)
    out[:, part] = (product @ rows.transpose(1, 2)).flatten(0, 1)
