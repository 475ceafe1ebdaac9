"""Grouping of heatmaps and tags into people, compared with the published code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pose_advpose.grouping import (
    Grouped,
    GroupingSettings,
    assignment_order,
    find_candidates,
    find_missing,
    group,
    match,
)
from pose_core.skeleton import SKELETONS
from pose_testing.golden import load_golden, uniform

FIGURES = load_golden("advpose/functions")["grouping"]
CASES = {case["name"]: case for case in FIGURES["cases"]}
ORDER = assignment_order(SKELETONS["coco17"])
PUBLISHED = GroupingSettings(ORDER)
Array = np.ndarray


def centers(name: str, people: int) -> tuple[Array, Array, Array, Array]:
    """Return columns, rows, heatmap values and tags ``(P, 17)`` by the golden file's rule of a case."""
    p, j = np.arange(people)[:, None], np.arange(17)[None]
    zero = 0 * (p + j)
    if name == "three_separated":
        return 5 + 9 * p + (3 * j) % 7, 4 + (5 * j + 3 * p) % 24, 0.9 - 0.05 * ((j + 2 * p) % 5), 2.5 * p + 0.01 * j
    if name == "close_tags_missing_joints":
        heat = np.where((7 * p + 3 * j) % 5 == 0, 0, 0.8 - 0.04 * ((j + p) % 6))
        return 3 + 7 * p + (2 * j) % 5, 4 + (5 * j + 7 * p) % 24, heat, 0.8 * p + 0.05 * ((3 * j + p) % 7)
    if name == "crowded_33_people":
        heat = np.where((p + j) % 6 == 0, 0, 0.9 - 0.01 * ((5 * p + j) % 30))
        return 5 + 10 * (p % 6) + zero, 5 + 10 * (p // 6) + zero, heat, 1.7 * p + 0.01 * j
    return 16 + zero, 16 + zero, 0.05 + zero, 0.0 + zero


def render(columns: Array, rows: Array, heats: Array, tags: Array, side: int) -> tuple[Array, Array]:
    """Draw heatmaps and tags ``(17, side, side)`` of joints ``(P, 17)``; a pixel has the tag of the nearest joint."""
    y, x = np.mgrid[:side, :side]
    squares = (x - columns[..., None, None]) ** 2 + (y - rows[..., None, None]) ** 2
    heat = (heats[..., None, None] * np.exp(-squares / 2)).max(0)
    nearest = squares.argmin(0)
    return heat, np.take_along_axis(tags[..., None, None], nearest[None], 0)[0]


def golden_maps(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    side = case["size"]
    heat, tag = render(*centers(case["name"], case["people"]), side)
    heat = heat + case["noise"] * uniform(f"group:noise:{side}", 17 * side * side).reshape(heat.shape)
    tags = np.stack([tag + case["tag_step"] * number for number in range(case["tag_dims"])])
    return torch.from_numpy(np.minimum(heat.astype(np.float32), 1)), torch.from_numpy(tags.astype(np.float32))


def joined(people: Grouped) -> Array:
    return torch.cat([people.points, people.values[..., None]], 2).numpy()


@pytest.mark.parametrize("name", CASES)
def test_people_equal_the_published_ones(name: str) -> None:
    case = CASES[name]
    heatmaps, tags = golden_maps(case)
    found = find_candidates(heatmaps, tags, FIGURES["detection_val"], FIGURES["max_people"])
    chosen = match(found, PUBLISHED)
    has = chosen >= 0
    assert len(chosen) == case["match_count"]
    assert has.sum(1).tolist() == case["match_visible_per_person"]
    people = group(heatmaps, tags, PUBLISHED)
    np.testing.assert_allclose(people.scores, case["scores"], rtol=0, atol=1e-6)
    if not len(chosen):
        assert people.points.shape == (0, 17, 2)
        return
    rows = np.concatenate([found.places, found.values[:, None], found.tags], 1)
    matched = np.where(has[..., None], rows[chosen], 0)
    np.testing.assert_allclose(matched[..., :3].sum((0, 1)), case["match_xyv_sum"], rtol=1e-6)
    first = [next(row[row >= 0] for row in [person[list(ORDER)]])[0] for person in chosen]
    np.testing.assert_allclose(found.tags[first, 0], case["match_first_tag"], rtol=0, atol=1e-5)
    refined = joined(people)
    expected = np.array(case["refined_xyv"])
    errors = {"refined": np.abs(refined[: len(expected)] - expected).max()}
    if case["match"] is not None:
        errors["match"] = np.abs(matched - np.array(case["match"])).max()
        plain = group(heatmaps, tags, GroupingSettings(ORDER, refine=False))
        errors["adjusted"] = np.abs(plain.points.numpy() - np.array(case["parse_adjusted_xy"])).max()
    print(name, errors)
    assert max(errors.values()) < 1e-5


def test_maps_of_any_memory_layout() -> None:
    heatmaps, tags = golden_maps(CASES["close_tags_missing_joints"])
    people = group(heatmaps, tags, PUBLISHED)
    layouts = heatmaps.permute(1, 2, 0).contiguous().permute(2, 0, 1), tags.transpose(2, 3).contiguous().transpose(2, 3)
    assert not any(maps.is_contiguous() for maps in layouts)
    found = find_candidates(*layouts, 0.1, 30)
    chosen = match(found, PUBLISHED)
    np.testing.assert_array_equal(find_missing(*layouts, found, chosen)[0], np.nonzero((chosen < 0).T)[1])
    np.testing.assert_array_equal(joined(group(*layouts, PUBLISHED)), joined(people))
