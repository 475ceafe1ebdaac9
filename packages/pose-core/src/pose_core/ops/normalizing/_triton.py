"""Bytes to normalized floats in one pass on a GPU; eager PyTorch needs three passes over the floats."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _kernel(images, output, values, pixels, s0, s1, s2, o0, o1, o2, CHANNELS_LAST: tl.constexpr, BLOCK: tl.constexpr):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = index < values
    # ``index`` runs over the output; the input is always channels last.
    if CHANNELS_LAST:
        source = index
        channel = index % 3
    else:
        plane = index // pixels
        channel = plane % 3
        source = (plane // 3 * pixels + index % pixels) * 3 + channel
    value = tl.load(images + source, mask=valid, other=0).to(tl.float32)
    scale = tl.where(channel == 0, s0, tl.where(channel == 1, s1, s2))
    offset = tl.where(channel == 0, o0, tl.where(channel == 1, o1, o2))
    tl.store(output + index, (value * scale + offset).to(output.dtype.element_ty), mask=valid)


def _empty_output(images: Tensor, dtype: torch.dtype, channels_last: bool) -> Tensor:
    """Return an empty output for images ``(N, H, W, 3)``."""
    count, height, width, _ = images.shape
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty((count, 3, height, width), dtype=dtype, device=images.device, memory_format=layout)


@torch.library.custom_op("pose::normalize", mutates_args=())
def normalize(
    images: Tensor, scale: list[float], offset: list[float], dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Return ``(N, 3, H, W)`` of ``dtype``, x·scale + offset for each channel, of ``(N, H, W, 3)`` uint8."""
    output = _empty_output(images, dtype, channels_last)
    values, pixels = output.numel(), images.shape[1] * images.shape[2]
    with torch.cuda.device_of(images):
        _kernel[(triton.cdiv(values, BLOCK),)](
            images.contiguous(), output, values, pixels, *scale, *offset, CHANNELS_LAST=channels_last, BLOCK=BLOCK
        )
    return output


@normalize.register_fake
def _(images: Tensor, scale: list[float], offset: list[float], dtype: torch.dtype, channels_last: bool) -> Tensor:
    return _empty_output(images, dtype, channels_last)
