"""The loss against joints in one pass on a GPU: Gaussians are computed where they are compared and never stored.

Forward reads the prediction once and writes one number per map; backward reads it once and writes the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
_KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Type of ``places`` → type that the kernels compute in."""


@triton.jit
def _target(index, place, width, scale, KIND: tl.constexpr):
    """Return one map's Gaussian at flat pixels ``index``; ``place`` holds x, y, its window's corners, drawn or not."""
    x = (index % width).to(KIND)
    y = (index // width).to(KIND)
    dx = x - tl.load(place)
    dy = y - tl.load(place + 1)
    inside = (x >= tl.load(place + 2)) & (x < tl.load(place + 3))
    inside = inside & (y >= tl.load(place + 4)) & (y < tl.load(place + 5))
    return tl.where(inside, tl.exp((dx * dx + dy * dy) * scale), 0.0) * tl.load(place + 6)


@triton.jit
def _forward(predicted, places, weights, sums, pixels, width, scale, KIND: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BLOCK], dtype=KIND)
    for start in range(0, pixels, BLOCK):
        index = start + tl.arange(0, BLOCK)
        valid = index < pixels
        value = tl.load(predicted + row * pixels + index, mask=valid, other=0.0).to(KIND)
        error = tl.where(valid, value - _target(index, places + row * 7, width, scale, KIND), 0.0)
        total += error * error
    weight = tl.load(weights + row)
    tl.store(sums + row, tl.sum(total) * weight * weight)


@triton.jit
def _backward(
    predicted, places, weights, upstream, gradient, pixels, width, scale, factor,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    index = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    valid = index < pixels
    value = tl.load(predicted + row * pixels + index, mask=valid, other=0.0).to(KIND)
    weight = tl.load(weights + row)
    error = value - _target(index, places + row * 7, width, scale, KIND)
    slope = error * (weight * weight * factor * tl.load(upstream))
    tl.store(gradient + row * pixels + index, slope.to(gradient.dtype.element_ty), mask=valid)


@torch.library.custom_op("pose::heatmap_loss", mutates_args=())
def heatmap_loss(predicted: Tensor, places: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Compute the loss of maps ``(N, K, H, W)`` against Gaussians at ``places`` ``(N, K, 7)``, see `_target`.

    ``places`` and ``weights`` ``(N, K)`` are float32, or float64 to compute in double precision.
    """
    maps, pixels, width = _sizes(predicted)
    sums = torch.empty(maps, device=predicted.device, dtype=places.dtype)
    with torch.cuda.device_of(predicted):
        _forward[(maps,)](
            predicted.contiguous(), places, weights, sums, pixels, width, -0.5 / sigma**2, KIND=_KINDS[places.dtype],
            BLOCK=BLOCK,
        )  # fmt: skip
    return sums.sum() * (0.5 / predicted.numel())


@heatmap_loss.register_fake
def _(predicted: Tensor, places: Tensor, weights: Tensor, sigma: float) -> Tensor:
    return places.new_empty(())


@torch.library.custom_op("pose::heatmap_loss_gradient", mutates_args=())
def heatmap_loss_gradient(upstream: Tensor, predicted: Tensor, places: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Compute the gradient with respect to ``predicted``."""
    maps, pixels, width = _sizes(predicted)
    plain = predicted.contiguous()
    gradient = torch.empty_like(plain)
    with torch.cuda.device_of(plain):
        _backward[(maps, triton.cdiv(pixels, BLOCK))](
            plain, places, weights, upstream.contiguous(), gradient, pixels, width, -0.5 / sigma**2,
            1.0 / predicted.numel(), KIND=_KINDS[places.dtype], BLOCK=BLOCK,
        )  # fmt: skip
    return gradient


@heatmap_loss_gradient.register_fake
def _(upstream: Tensor, predicted: Tensor, places: Tensor, weights: Tensor, sigma: float) -> Tensor:
    return torch.empty_like(predicted, memory_format=torch.contiguous_format)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.sigma = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
    return heatmap_loss_gradient(upstream, *ctx.saved_tensors, ctx.sigma), None, None, None


heatmap_loss.register_autograd(_differentiate, setup_context=_save_inputs)


def _sizes(predicted: Tensor) -> tuple[int, int, int]:
    """Return the number of maps, the pixels of one, and its width."""
    count, number, height, width = predicted.shape
    return count * number, height * width, width


def loss_at_centers(predicted: Tensor, centers: Tensor, weights: Tensor, sigma: float, *, cut: bool) -> Tensor:
    """Return the loss against Gaussians at ``centers`` ``(N, K, 2)``, cut at ±3σ or not at all, a scalar."""
    kind = torch.float64 if predicted.dtype == torch.float64 else torch.float32
    if cut:
        low, high = torch.trunc(centers - 3 * sigma), torch.trunc(centers + 3 * sigma + 1)
    else:
        low, high = torch.full_like(centers, -torch.inf), torch.full_like(centers, torch.inf)
    corners = torch.stack([low[..., 0], high[..., 0], low[..., 1], high[..., 1]], -1)
    places = torch.cat([centers, corners, (weights > 0.5)[..., None]], -1)
    return heatmap_loss(predicted, places.to(kind).contiguous(), weights.to(kind).contiguous(), sigma)
