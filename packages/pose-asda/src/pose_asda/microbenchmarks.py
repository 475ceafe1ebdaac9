"""Stages that `pose benchmark --stages` measures: pasting parts on crops, without and with its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from pose_asda.generator import NUM_TYPES, placements_to_thetas, random_placements
from pose_core.ops import paste
from pose_core.plugins.method import Microbenchmark

BATCH, SLOTS, SIDE, PART = 32, 4, 256, 64
"""Crops per batch, parts per crop, and the side lengths of a crop and of a part in pixels."""


def microbenchmarks(device: torch.device) -> Iterator[Microbenchmark]:
    """Yield pasting a batch of parts, without and with the gradient with respect to their placements."""
    scene = tuple(tensor.to(device) for tensor in parted(BATCH))
    name = f"{SLOTS} parts of {PART}² on {SIDE}² crops"
    yield Microbenchmark(f"{name}, pasted", "crops", BATCH, partial(composite, *scene))
    yield Microbenchmark(f"{name}, pasted and learned", "crops", BATCH, partial(learn, *scene))


def composite(images: Tensor, texels: Tensor, boxes: Tensor, placements: Tensor, types: Tensor) -> Tensor:
    """Return crops ``(N, 3, H, W)`` with their parts pasted."""
    thetas = placements_to_thetas(placements, types)
    return paste(images, texels, boxes, thetas, align_corners=True)


def learn(images: Tensor, texels: Tensor, boxes: Tensor, placements: Tensor, types: Tensor) -> Tensor:
    """Return the gradient of the mean square of the pasted crops with respect to the placements ``(N, 25, 3)``."""
    leaf = placements.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(composite(images, texels, boxes, leaf, types).square().mean(), leaf)
    return gradient


def parted(images: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return random crops, texels, boxes ``(N, S, 4)``, placements ``(N, 25, 3)`` and types ``(N, S)``."""
    torch.manual_seed(0)
    corners = torch.randint(0, SIDE - PART, (images, SLOTS, 2), dtype=torch.int32)
    boxes = torch.cat([corners, corners + PART], 2)
    texels = torch.rand(images * SLOTS * PART**2, 4)
    types = torch.randint(0, NUM_TYPES, (images, SLOTS))
    return torch.rand(images, 3, SIDE, SIDE), texels, boxes, random_placements(images, texels.device), types
