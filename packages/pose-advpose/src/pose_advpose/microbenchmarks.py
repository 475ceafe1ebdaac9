"""Microbenchmarks for `pose benchmark --stages`: the tag loss, and grouping by tags."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pose_advpose.grouping import GroupingSettings, assignment_order, group
from pose_core.ops import tag_loss
from pose_core.plugins.method import Microbenchmark
from pose_core.skeleton import SKELETONS

BATCH, PEOPLE, SIDE = 16, 30, 128
COCO = SKELETONS["coco17"]


def microbenchmarks(device: torch.device) -> Iterator[Microbenchmark]:
    """Yield the tag loss of a batch with its gradient, and grouping of a crowd without and with flip tags."""
    tags, keypoints = tagged(BATCH)
    yield Microbenchmark(
        f"tag loss and gradient, {PEOPLE} people an image, {SIDE}²", "images", BATCH,
        partial(learn, tags.to(device), keypoints.to(device)),
    )  # fmt: skip
    settings = GroupingSettings(assignment_order(COCO))
    for dimensions, name in ((1, "one tag a joint"), (2, "two tags a joint")):
        heatmaps, marks = (maps.to(device) for maps in crowd(dimensions))
        yield Microbenchmark(
            f"grouping, {PEOPLE} people, {SIDE}², {name}", "images", 1, partial(group, heatmaps, marks, settings)
        )


def learn(tags: Tensor, keypoints: Tensor) -> Tensor:
    """Return the gradient of push and pull with respect to the tags."""
    leaf = tags.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(tag_loss(leaf, keypoints).sum(), leaf)
    return gradient


def tagged(images: int) -> tuple[Tensor, Tensor]:
    """Return tags ``(N, K·h·w, 1)`` and the indices and visibility of all people's joints in them ``(N, P, K, 2)``."""
    make = np.random.default_rng(0)
    joints, pixels = COCO.num_joints, SIDE * SIDE
    places = np.arange(joints) * pixels + make.integers(0, pixels, (images, PEOPLE, joints))
    keypoints = np.stack([places, make.random(places.shape) < 0.8], -1)
    tags = make.normal(0, 1, (images, joints * pixels, 1))
    return torch.from_numpy(tags).float(), torch.from_numpy(keypoints.astype(np.int64))


def crowd(dimensions: int) -> tuple[Tensor, Tensor]:
    """Return heatmaps ``(K, h, w)`` and tags ``(D, K, h, w)`` of an image with many people, few joints missing."""
    make = np.random.default_rng(0)
    row, column = np.divmod(np.arange(PEOPLE), 6)
    centers = np.stack([(column + 0.5) * SIDE / 6, (row + 0.5) * SIDE / 5], 1)
    points = centers[:, None] + make.normal(0, SIDE / 30, (PEOPLE, COCO.num_joints, 2))
    heats = make.uniform(0.4, 0.95, points.shape[:2]) * (make.random(points.shape[:2]) < 0.9)
    y, x = np.mgrid[:SIDE, :SIDE]
    squares = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    heat = (heats[..., None, None] * np.exp(-squares / 8)).max(0) + make.normal(0, 0.005, (len(points[0]), SIDE, SIDE))
    owner = make.permutation(PEOPLE)[squares.argmin(0)]
    tags = 2.5 * owner + make.normal(0, 0.1, (dimensions, *owner.shape))
    return torch.from_numpy(heat).float().clamp_max(1), torch.from_numpy(tags).float()
