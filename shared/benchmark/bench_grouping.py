"""Benchmark grouping of people from heatmaps and tags, and the tag loss, on one core.

    python shared/benchmark/run.py --only grouping
    python shared/benchmark/run.py --only grouping_variants,tag_loss

The baseline grouping is the published one, with its solver's steps; the baseline loss is rewritten from its formulas,
in Python, and in C if there is a compiler. The crowd is synthetic, and every seventh joint has no heat. With 30 people,
the published grouping assigns no further joints and finds them in its search for missing joints; variants without that
limit assign every joint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch
from baselines import published_grouping, published_tag_loss
from cases import Bar, Case
from scipy.optimize import linear_sum_assignment

from pose_advpose import grouping
from pose_advpose.grouping import Grouped, GroupingSettings, group
from pose_core.ops import tag_loss

SETTINGS = GroupingSettings(published_grouping.ORDER)
MISSING = 0.15
"""Share of joints without heat."""
PEOPLE = 30
NEAR = 1e-3
"""Maximum distance in pixels to the published grouping's joint that counts as the same position."""
BARS = {128: (15, 25), 256: (20, 15)}
"""Side of the maps → at least this many times as fast as published, at most this many times as slow as dilation."""
ANY = 60
"""A limit above the number of people: none."""

Array = np.ndarray


def crowd(side: int, dimensions: int = 1, seed: int = 0, people: int = PEOPLE) -> tuple[torch.Tensor, torch.Tensor]:
    """Make heatmaps ``(17, side, side)`` and tags ``(D, 17, side, side)`` as for an image with many people."""
    make = np.random.default_rng(seed)
    rows = math.ceil(math.sqrt(people / 1.2))
    columns = math.ceil(people / rows)
    row, column = np.divmod(np.arange(people), columns)
    centers = np.stack([(column + 0.5) * side / columns, (row + 0.5) * side / rows], 1)
    points = centers[:, None] + make.normal(0, side / 30, (people, 17, 2))
    heats = make.uniform(0.4, 0.95, (people, 17)) * (make.random((people, 17)) >= MISSING)
    labels = make.permutation(people)[:, None] * 2.5 + make.normal(0, 0.1, (people, 17))
    y, x = np.mgrid[:side, :side]
    heat, tags = np.zeros((17, side, side)), np.zeros((17, side, side))
    for joint in range(17):
        squares = (x - points[:, joint, 0, None, None]) ** 2 + (y - points[:, joint, 1, None, None]) ** 2
        heat[joint] = (heats[:, joint, None, None] * np.exp(-squares / (2 * 2.0**2))).max(0)
        tags[joint] = labels[squares.argmin(0), joint]
    heat += make.normal(0, 0.005, heat.shape)
    # A mirrored image's tags are those of the image except for the noise.
    noisy = tags + make.normal(0, 0.05, (dimensions, *tags.shape))
    return torch.from_numpy(heat).float().clamp_max(1), torch.from_numpy(noisy).float()


def cases(folder: Path) -> Iterator[Case]:
    """Yield the bars of grouping."""
    for side in BARS:
        yield of_crowd(f"grouping_{side}", f"{PEOPLE} people, {side}²", side, 1, PEOPLE)


def variants(folder: Path) -> Iterator[Case]:
    """Yield grouping by tags of two dimensions, and without a limit of people."""
    for side in BARS:
        for dimensions, most in ((1, ANY), (2, PEOPLE), (2, ANY)):
            words = f"{side}², tag dim {dimensions}, {f'{most} people' if most == PEOPLE else 'no limit of people'}"
            yield of_crowd(f"grouping, {words}", words, side, dimensions, most)


def of_crowd(name: str, words: str, side: int, dimensions: int, most: int) -> Case:
    """Return the bars of grouping; the floor dilates the maps once. The total cost equals that of the published one."""
    heat, tags = crowd(side, dimensions)
    settings, square = replace(SETTINGS, max_people=most), np.ones((3, 3), np.uint8)
    det, tag, planes = heat[None], tags.permute(1, 2, 3, 0)[None].contiguous(), heat.numpy()
    expected, _, cost = published_grouping.group(det, tag, most)
    assert abs(total_cost(heat, tags, settings) - cost) < 1e-6
    assert same_joints(expected, group(heat, tags, settings)) > 0.9
    times, floors = BARS[side]
    return Case(
        name,
        f"grouping by tags, {words}",
        {
            "published": lambda: published_grouping.group(det, tag, most),
            "ours": lambda: group(heat, tags, settings),
            "dilate": lambda: [cv2.dilate(plane, square) for plane in planes],
        },
        (Bar("published", "ours", times, at_most=False), Bar("ours", "dilate", floors)),
    )


def growth() -> Iterator[tuple[str, str, dict[int, Callable[[], object]]]]:
    """Yield axes of growth, the work, and what does it at each size.

    Every joint of every person is compared with all peaks of the joint, and an assignment of n candidates to n people
    takes up to n³ steps where rounded costs tie.
    """
    settings = replace(SETTINGS, max_people=200)
    counts = {people: crowd(256, people=people) for people in (1, 3, 10, 30, 100)}
    yield (
        "people in an image", "grouping by tags", {n: partial(group, *maps, settings) for n, maps in counts.items()}
    )  # fmt: skip
    sizes = {side: crowd(side, people=10) for side in (64, 128, 256, 512)}
    yield "side of the maps", "grouping by tags", {n: partial(group, *maps, SETTINGS) for n, maps in sizes.items()}


def total_cost(heat: torch.Tensor, tags: torch.Tensor, settings: GroupingSettings) -> float:
    """Return the total cost of all our assignments, including those that are too far to be kept."""
    spent = []

    def record(cost: Array) -> list[int]:
        columns = solve(cost)
        spent.append(sum(cost[row, column] for row, column in enumerate(columns) if column >= 0))
        return columns

    solve = grouping.cheapest_columns
    with patch.object(grouping, "cheapest_columns", record):
        group(heat, tags, settings)
    return float(sum(spent))


def same_joints(expected: Array, ours: Grouped) -> float:
    """Return the share of the published people's joints ``(N, K, 3 + D)`` that ours, matched one to one, also have."""
    has = expected[:, None, :, 2] > 0
    apart = np.abs(expected[:, None, :, :2] - ours.points.numpy()[None]).max(-1)
    agree = (has & (ours.values.numpy() > 0)[None] & (apart < NEAR)).sum(2)
    return float(agree[linear_sum_assignment(-agree)].sum() / has.sum())


def losses(folder: Path) -> Iterator[Case]:
    """Yield the tag loss of a batch and its gradient, against loops in Python and in C."""
    batch, side = 16, 128
    make = np.random.default_rng(0)
    tags = make.normal(0, 1, (batch, 17 * side * side, 1)).astype(np.float32)
    places = np.arange(17) * side * side + make.integers(0, side * side, (batch, PEOPLE, 17))
    keypoints = np.stack([places, make.random(places.shape) >= MISSING], -1).astype(np.int64)
    up = np.tile(np.float32([1e-3, 1e-3]), (batch, 1))
    leaf, known, weights = torch.from_numpy(tags).requires_grad_(), torch.from_numpy(keypoints), torch.from_numpy(up)

    def ours() -> tuple[torch.Tensor, torch.Tensor]:
        values = tag_loss(leaf, known)
        (gradient,) = torch.autograd.grad(values, leaf, weights)
        return values.detach(), gradient

    contenders: dict[str, Callable[[], object]] = {"ours": ours}
    bars = []
    for name, routine, limit in (
        ("loops in Python", published_tag_loss.tag_loss, 20),
        ("loops in C", published_tag_loss.compiled(), 0.5),
    ):
        if routine is not None:  # there is a C compiler
            for found, expected in zip(ours(), routine(tags, keypoints, up), strict=True):
                assert np.abs(found.numpy() - expected).max() < 1e-4 * np.abs(expected).max()
            contenders[name] = partial(routine, tags, keypoints, up)
            bars.append(Bar(name, "ours", limit, at_most=False))
    yield Case("tag_loss", f"tag loss and gradient, {batch} × {PEOPLE} people, {side}²", contenders, tuple(bars))
