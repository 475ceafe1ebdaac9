"""Microbenchmarks for `pose benchmark --stages`: targets, and decoding of a crowd."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pose_core.plugins.method import Microbenchmark
from pose_dekr.decode import BottomUpSettings, DekrSettings, decode
from pose_dekr.flip import Fused, offsets_to_poses
from pose_dekr.targets import DEKR, make_targets

BATCH, PEOPLE, SIDE = 8, 8, 128
CROWD, SIZE = 30, (640, 512)


def microbenchmarks(device: torch.device) -> Iterator[Microbenchmark]:
    """Yield the targets of a batch, and decoding of one crowd by both systems."""
    joints, areas = scattered(BATCH)
    joints, areas, keep = joints.to(device), areas.to(device), torch.ones(BATCH, SIDE, SIDE, device=device)
    name = f"DEKR targets, {PEOPLE} people an image, {SIDE}²"
    yield Microbenchmark(name, "images", BATCH, lambda: make_targets(joints, areas, keep, DEKR))
    heatmaps, offsets = crowd()
    maps = {1.0: Fused(heatmaps[0].to(device), offsets_to_poses(offsets)[0].to(device))}
    kinds: dict[str, DekrSettings | BottomUpSettings] = {
        "DEKR": DekrSettings(),
        "Bottom-Up with fits": BottomUpSettings(),
    }
    for name, settings in kinds.items():
        yield Microbenchmark(f"{name}, {CROWD} people from maps", "images", 1, partial(decode, maps, SIZE, settings))


def scattered(images: int) -> tuple[Tensor, Tensor]:
    """Return joints ``(N, P, 18, 3)`` in heatmap pixels, the center last, and areas ``(N, P)``."""
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, SIDE, (images, PEOPLE, 1, 2))
    points = np.concatenate([centers + rng.normal(0, 12, (images, PEOPLE, 17, 2)), centers], 2)
    joints = np.concatenate([points, np.ones((*points.shape[:3], 1))], 3)
    areas = rng.uniform(200, 4000, (images, PEOPLE))
    return torch.from_numpy(joints).float(), torch.from_numpy(areas).float()


def crowd(people: int = CROWD, height: int = SIZE[1] // 4, width: int = SIZE[0] // 4) -> tuple[Tensor, Tensor]:
    """Return heatmaps ``(1, 18, h, w)`` and offsets ``(1, 34, h, w)`` of an image with many people."""
    make = np.random.default_rng(1)
    rows = math.ceil(math.sqrt(people / 1.2))
    columns = math.ceil(people / rows)
    row, column = np.divmod(np.arange(people), columns)
    centers = np.stack([column * width / columns + 13, row * height / rows + 13], 1)
    centers += make.uniform(-4, 4, (people, 2))
    points = centers[:, None] + make.normal(0, 5, (people, 17, 2))
    y, x = np.mgrid[:height, :width]
    with_center = np.concatenate([points, centers[:, None]], 1)
    squares = (x - with_center[..., 0, None, None]) ** 2 + (y - with_center[..., 1, None, None]) ** 2
    sigmas = np.r_[np.full(17, 2.0), 4.0][:, None, None]
    heat = (make.uniform(0.5, 1, (people, 18, 1, 1)) * np.exp(-squares / (2 * sigmas**2))).max(0)
    owner = ((x - centers[:, 0, None, None]) ** 2 + (y - centers[:, 1, None, None]) ** 2).argmin(0)
    poses = points[owner].transpose(2, 3, 0, 1).reshape(34, height, width) + make.normal(0, 0.3, (34, height, width))
    offsets = np.tile(np.stack([x, y]), (17, 1, 1)) - poses
    noisy = heat + make.normal(0, 0.002, heat.shape)
    return torch.from_numpy(noisy).float()[None], torch.from_numpy(offsets).float()[None]
