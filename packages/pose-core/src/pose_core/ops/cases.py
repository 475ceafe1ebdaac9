"""Representative inputs for the ops on tensors and on poses: they are measured, and compared, with these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_core import ops
from pose_core.skeleton import SKELETONS

COCO = SKELETONS["coco17"]
MAPS, RATIO = (48, 64), (0.25, 0.25)


@dataclass(frozen=True)
class Case:
    """An op with its inputs. ``learned``: gradients reach the first input."""

    op: str
    run: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[Tensor, ...]
    learned: bool = False


def cases(batch: int, device: torch.device) -> list[Case]:
    """Return a case for every op on tensors, of ``batch`` images or persons."""
    make = torch.Generator().manual_seed(0)
    width, height = MAPS
    images = torch.randint(0, 256, (batch, 4 * height, 4 * width, 3), dtype=torch.uint8, generator=make).to(device)
    joints = (torch.rand(batch, 17, 2, generator=make) * torch.tensor([192.0, 256.0])).to(device)
    weights = torch.ones(batch, 17, device=device)
    maps = torch.randn(batch, 17, height, width, generator=make).to(device)
    mirrored = torch.randn(batch, 17, height, width, generator=make).to(device)
    order = torch.from_numpy(COCO.flip_order).to(device)
    tags = torch.randn(batch, 17 * 64 * 64, 1, generator=make).to(device)
    people = torch.stack(
        [torch.randint(0, 17 * 64 * 64, (batch, 30, 17), generator=make), torch.ones(batch, 30, 17, dtype=torch.long)],
        -1,
    ).to(device)
    x = torch.randn(max(batch // 16, 1), 15, 128, 128, generator=make).to(device)
    offsets = torch.randn(len(x), 18, 128, 128, generator=make).to(device)
    kernel = torch.randn(15, 15, 3, 3, generator=make).to(device)

    crops = torch.rand(batch, 3, 256, 256, generator=make).to(device)
    corners = torch.randint(0, 192, (batch, 4, 2), generator=make)
    boxes = torch.cat([corners, corners + 64], -1).int().to(device)
    # Smooth, as parts are: on noise a gradient depends on which side of a pixel's center rounding puts a position.
    bump = torch.linspace(0, torch.pi, 64).sin()
    colors = torch.cat([torch.rand(batch * 4, 3, generator=make), torch.ones(batch * 4, 1)], 1)
    texels = (torch.outer(bump, bump)[None, ..., None] * colors[:, None, None]).reshape(-1, 4).to(device)
    thetas = (torch.eye(2, 3).repeat(batch, 4, 1, 1) + torch.randn(batch, 4, 2, 3, generator=make) / 4).to(device)

    def pasted(t: Tensor, i: Tensor, x: Tensor, b: Tensor) -> Tensor:
        return ops.paste(i, x, b, t, align_corners=True)

    def loss(p: Tensor, j: Tensor, w: Tensor) -> Tensor:
        return ops.heatmap_loss(p, j, w, 2.0, ratio=RATIO)

    def targets(j: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return ops.gaussian_heatmaps(j, w, MAPS, 2.0, ratio=RATIO)

    def flipped(p: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        return ops.decode_flipped(p, m, order, shift=True)

    # Each image once, slightly rotated, mirrored, at its own scale.
    planes = list(images.permute(0, 3, 1, 2).contiguous())
    angle, zoom = torch.rand(2, batch, generator=make, dtype=torch.float64)
    turn = torch.stack([-angle.cos(), angle.sin(), torch.full_like(angle, 150), angle.sin(), angle.cos(), -30 * angle])
    to_image = ((0.5 + zoom) * turn).T.reshape(batch, 2, 3).contiguous().to(device)
    numbers = torch.arange(batch, device=device)

    def cut(m: Tensor) -> Tensor:
        return ops.warp_crops(planes, numbers, m, (4 * width, 4 * height)).float()

    return [
        Case("warp_crops", cut, (to_image,)),
        Case("normalize", lambda i: ops.normalize(i, channels_last=True), (images,)),
        Case("gaussian_heatmaps", targets, (joints, weights)),
        Case("heatmap_loss", loss, (maps, joints, weights), learned=True),
        Case("decode_heatmaps", ops.decode_heatmaps, (maps,)),
        Case("decode_flipped", flipped, (maps, mirrored)),
        Case("fuse_flip", lambda p, m: ops.fuse_flip(p, m, order, shift=True), (maps, mirrored)),
        Case("paste", pasted, (thetas, crops, texels, boxes), learned=True),
        Case("tag_loss", lambda t: ops.tag_loss(t, people), (tags,), learned=True),
        Case("deform_conv", ops.deform_conv, (x, offsets, kernel)),
    ]


def suppression(images: int, poses: int = 30) -> Callable[[], np.ndarray]:
    """Return a call of `pose_core.ops.oks_nms`: poses of a few people in each of ``images``."""
    make = np.random.default_rng(0)
    people = make.uniform(0, 600, (images, 6, 1, 2)) + make.normal(0, 40, (images, 6, 17, 2))
    table = people[:, make.integers(0, 6, poses)] + make.normal(0, 3, (images, poses, 17, 2))
    scores, areas = make.random(images * poses), make.uniform(5e3, 5e4, images * poses)
    numbers = np.repeat(np.arange(images), poses)
    return lambda: ops.oks_nms(table.reshape(-1, 17, 2), scores, areas, np.array(COCO.sigmas), 0.9, images=numbers)
