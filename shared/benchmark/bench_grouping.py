"""Benchmark grouping of people from heatmaps and tags, and the tag loss, on one core.

python shared/benchmark/bench_grouping.py [--rounds 7] [--out results.json]

The baseline grouping is the published one, with its solver's steps; the baseline loss is rewritten from its formulas,
in Python, and in C if there is a compiler. The crowd is synthetic, and every seventh joint has no heat. With 30 people,
the published grouping assigns no further joints and finds them in its search for missing joints; rows without that
limit assign every joint. Times are processor times.
"""

from __future__ import annotations

import math
import time
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
from paired import arguments, compare, machine, print_table, write_rows
from scipy.optimize import linear_sum_assignment

from pose_advpose import grouping
from pose_advpose.grouping import Grouped, GroupingSettings, find_candidates, find_missing, group, match
from pose_core.ops import tag_loss

SETTINGS = GroupingSettings(published_grouping.ORDER)
MISSING = 0.15
"""Share of joints without heat."""
PEOPLE = 30
NEAR = 1e-3
"""Maximum distance in pixels to the published grouping's joint that counts as the same position."""
BARS = {(128, 1): "≥ 15", (256, 1): "≥ 20"}
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
    """Yield the bars of grouping; the floor dilates the maps once. The total cost equals that of the published one."""
    square = np.ones((3, 3), np.uint8)
    for side, times, most in ((128, 15, 25), (256, 20, 15)):
        heat, tags = crowd(side)
        det, tag, planes = heat[None], tags.permute(1, 2, 3, 0)[None].contiguous(), heat.numpy()
        assert abs(total_cost(heat, tags, SETTINGS) - published_grouping.group(det, tag, PEOPLE)[2]) < 1e-6
        yield Case(
            f"grouping_{side}",
            f"grouping by tags, {PEOPLE} people, {side}²",
            {
                "published": lambda det=det, tag=tag: published_grouping.group(det, tag, PEOPLE),
                "ours": lambda heat=heat, tags=tags: group(heat, tags, SETTINGS),
                "dilate": lambda planes=planes: [cv2.dilate(plane, square) for plane in planes],
            },
            (Bar("published", "ours", times, at_most=False), Bar("ours", "dilate", most)),
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


def people(side: int, dimensions: int, max_people: int, rounds: int) -> dict[str, object]:
    """Compare grouping: time, agreement with the published one, and time of its stages."""
    heat, tags = crowd(side, dimensions)
    settings = replace(SETTINGS, max_people=max_people)
    det, tag = heat[None], tags.permute(1, 2, 3, 0)[None].contiguous()
    planes, square, widest = heat.numpy(), np.ones((3, 3), np.uint8), np.empty((side, side), np.float32)
    candidates = find_candidates(heat, tags, settings.detection_threshold, max_people)
    chosen = match(candidates, settings)
    found = compare(
        {
            "published": lambda: published_grouping.group(det, tag, max_people),
            "ours": lambda: group(heat, tags, settings),
            "dilate": lambda: [cv2.dilate(plane, square, dst=widest) for plane in planes],
            "peaks": lambda: find_candidates(heat, tags, settings.detection_threshold, max_people),
            "match": lambda: match(candidates, settings),
            "missing": lambda: find_missing(heat, tags, candidates, chosen),
        },
        rounds,
        time.process_time,
    )
    expected, _, cost = published_grouping.group(det, tag, max_people)
    ours = group(heat, tags, settings)
    limit = max_people if max_people == PEOPLE else "none"
    return {
        "work": f"grouping, {side}², tag dim {dimensions}, limit of people {limit}",
        "published ms": 1e3 * found["published"], "ours ms": 1e3 * found["ours"], "ratio": found["ratio"],
        "bar": BARS.get((side, dimensions), "-"), "people": f"{len(ours.points)}, published {len(expected)}",
        "same joints": same_joints(expected, ours), "cost above published": total_cost(heat, tags, settings) - cost,
        **{f"{name} ms": 1e3 * found[name] for name in ("dilate", "peaks", "match", "missing")},
    }  # fmt: skip


def loss(rounds: int, batch: int = 16, side: int = 128) -> list[dict[str, object]]:
    """Compare the tag loss of a batch and its gradient with loops in Python and in C."""
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

    rows = []
    routines = {"loops in Python": published_tag_loss.tag_loss, "loops in C": published_tag_loss.compiled()}
    for name, routine in routines.items():
        if routine is None:
            print("no C compiler: the tag loss is compared with loops in Python alone")
            continue
        run = routine
        contenders = {"published": lambda run=run: run(tags, keypoints, up), "ours": ours}
        found = compare(contenders, rounds, time.process_time)
        (values, gradient), (theirs, slope) = ours(), run(tags, keypoints, up)
        rows.append(
            {
                "work": f"tag loss and gradient, {batch} × {PEOPLE} people, {side}², against {name}",
                "published ms": 1e3 * found["published"], "ours ms": 1e3 * found["ours"], "ratio": found["ratio"],
                "bar": "-",
                "value differs": float(np.abs(values.numpy() - theirs).max() / np.abs(theirs).max()),
                "gradient differs": float(np.abs(gradient.numpy() - slope).max() / np.abs(slope).max()),
            }
        )  # fmt: skip
    return rows


def main() -> None:
    args = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sizes = ((128, 1), (256, 1), (128, 2), (256, 2))
    groups = [people(*size, max_people, args.rounds) for size in sizes for max_people in (PEOPLE, ANY)]
    losses = loss(args.rounds)
    print(machine())
    print_table(groups)
    print_table(losses)
    write_rows(groups + losses, args.out, machine())


if __name__ == "__main__":
    main()
