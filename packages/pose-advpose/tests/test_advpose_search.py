"""Missing joints are where a search of all pixels finds them; assignments have the lowest cost."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pose_advpose.grouping import GroupingSettings, assign, find_candidates, find_missing, match
from pose_advpose.hungarian import cheapest_columns
from pose_advpose.refine import RUN, best_near_scores, best_peak_scores, search_everywhere, search_where_high
from pose_testing.golden import uniform

Array = np.ndarray
JOINTS = 5


def plain(heat: Array, tags: Array, joint: Array, mean_tags: Array) -> Array:
    """Search by definition: all pixels for each pair, the first of equal maxima."""
    found = [
        np.argmax(heat[number] - np.round(np.sqrt(np.square(tags[:, number] - person[:, None]).sum(0))))
        for number, person in zip(joint, mean_tags, strict=True)
    ]
    return np.array(found, np.int64)


def scene(make: np.random.Generator, side: int, dimensions: int, kind: str) -> tuple[Array, Array]:
    """Draw heatmaps ``(K, h, w)`` and tags ``(D, K, h, w)``: multiples of 1/4 make ties, a dead joint is all 0."""
    heat = make.normal(0, 0.02, (JOINTS, side, side))
    tags = make.normal(0, 3, (dimensions, JOINTS, side, side))
    for number in range(JOINTS if kind != "cold" else 0):
        for row, column in make.integers(1, side - 1, (1 if kind == "few" else 12, 2)):
            heat[number, row - 1 : row + 2, column - 1 : column + 2] = make.uniform(0.2, 0.9)
            heat[number, row, column] += 0.05
    if kind == "ties":
        heat, tags = np.round(4 * heat) / 4, np.round(2 * tags) / 2
    if kind == "dead":
        heat[2] = 0
    if kind == "below":
        heat -= 2
    return heat.astype(np.float32), tags.astype(np.float32)


@pytest.mark.parametrize("kind", ["many", "few", "cold", "ties", "dead", "below"])
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("side", [9, 40])
def test_search_of_high_pixels_equals_search_of_all(side: int, dimensions: int, kind: str) -> None:
    assert 9**2 % RUN > 0 == 40**2 % RUN  # maps of one size are filled up to whole runs
    make = np.random.default_rng(side)
    for _ in range(8):
        heat, tags = scene(make, side, dimensions, kind)
        found = find_candidates(torch.from_numpy(heat), torch.from_numpy(tags), 0.1, 30)
        assert (len(found.values) == 0) == (kind in {"cold", "below"})
        joint = np.sort(make.integers(0, JOINTS, 25))
        # Some people have the tags of a pixel, others random ones.
        mean_tags = make.normal(0, 3, (25, dimensions)).astype(np.float32)
        mean_tags[::3] = tags[:, joint[::3], make.integers(0, side), make.integers(0, side)].T
        rows, columns = heat.reshape(JOINTS, -1), tags.reshape(dimensions, JOINTS, -1)
        bounds = best_peak_scores(joint, mean_tags, found.starts, found.values, found.tags)
        expected = plain(rows, columns, joint, mean_tags)
        likely = [
            heat[j].flat[p] - np.round(np.linalg.norm(columns[:, j, p] - w))
            for j, p, w in zip(joint, expected, mean_tags, strict=True)
        ]
        near = best_near_scores(rows, columns, joint, mean_tags, make.integers(0, side, (25, 2)), side)
        assert np.isfinite(near).all()
        for lowest in (bounds, np.fmax(bounds, near)):
            assert (lowest <= np.array(likely) + 1e-6).all()
            mine = search_where_high(rows, columns, joint, mean_tags, lowest, found.threshold)
            np.testing.assert_array_equal(mine, expected)
        everywhere = search_everywhere(torch.from_numpy(rows), torch.from_numpy(columns), joint, mean_tags)
        np.testing.assert_array_equal(everywhere.numpy(), expected)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_any_threshold_of_peaks_gives_the_same_result(threshold: float) -> None:
    make = np.random.default_rng(0)
    heat, tags = scene(make, 20, 1, "many")
    heat *= 2  # above 1, so that a peak one step of tags away is a useful bound
    found = find_candidates(torch.from_numpy(heat), torch.from_numpy(tags), threshold, 30)
    joint, mean_tags = np.sort(make.integers(0, JOINTS, 40)), make.normal(0, 3, (40, 1)).astype(np.float32)
    rows, columns = heat.reshape(JOINTS, -1), tags.reshape(1, JOINTS, -1)
    bounds = best_peak_scores(joint, mean_tags, found.starts, found.values, found.tags)
    mine = search_where_high(rows, columns, joint, mean_tags, bounds, found.threshold)
    np.testing.assert_array_equal(mine, plain(rows, columns, joint, mean_tags))


def test_pixels_that_are_nan_are_skipped() -> None:
    heat, tags = scene(np.random.default_rng(0), 20, 1, "many")
    tags[0, :, 0], heat[3] = np.nan, np.nan
    found = find_candidates(torch.from_numpy(heat), torch.from_numpy(tags), 0.1, 30)
    assert found.starts[3] == found.starts[4]
    chosen = match(found, GroupingSettings(tuple(range(JOINTS))))
    assert len(chosen)
    _, joint, _, seen = find_missing(torch.from_numpy(heat), torch.from_numpy(tags), found, chosen)
    assert np.isnan(seen[joint == 3]).all()
    assert np.isfinite(seen[joint != 3]).all()


def test_search_with_and_without_peaks_of_the_joint() -> None:
    heat, tags = np.zeros((3, 6, 6), np.float32), np.zeros((1, 3, 6, 6), np.float32)
    heat[0, 2, 3], heat[1, 4, 4], tags[0, 1] = 0.8, 0.6, 7
    found = find_candidates(torch.from_numpy(heat), torch.from_numpy(tags), 0.1, 30)
    chosen = np.array([[-1, -1, 0]])  # a person with tag 0
    maps = torch.from_numpy(heat), torch.from_numpy(tags)
    person, joint, fine, seen = find_missing(*maps, found, chosen, compat=False)
    assert joint.tolist() == [0, 1]
    assert person.tolist() == [0, 0]
    # All tags of joint 1 are another person's: its highest pixel is still the best.
    np.testing.assert_allclose(seen, [0.8, 0.6])
    np.testing.assert_allclose(fine, [[3.25, 2.25], [4.25, 4.25]])
    # With three joints the published code reads row 2 as the row below row 2.
    *_, published, _ = find_missing(*maps, found, chosen)
    np.testing.assert_allclose(published, [[3.25, 2.75], [4.25, 4.25]])


@pytest.mark.parametrize("side", [(7, 5), (16, 16)])
def test_peaks_are_the_highest_of_their_nine_pixels(side: tuple[int, int]) -> None:
    make = np.random.default_rng(0)
    for levels in (5, 1000):
        heat = (make.integers(0, levels, (4, *side)) / levels).astype(np.float32)
        heat[0, 0, 0], heat[1, -1, -1], heat[2, 0, -1], heat[3, -1, 0] = 1, 1, 1, 1
        padded = np.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
        around = [padded[:, y : y + side[0], x : x + side[1]] for y in range(3) for x in range(3)]
        expected = np.argwhere((heat == np.max(around, 0)) & (heat > 0.1))
        found = find_candidates(torch.from_numpy(heat), torch.zeros(1, *heat.shape), 0.1, 1000)
        owner = np.repeat(np.arange(4), np.diff(found.starts))
        mine = np.column_stack([owner, found.places[:, ::-1]]).astype(int)
        assert sorted(map(tuple, mine.tolist())) == sorted(map(tuple, expected.tolist()))


def brute(distance: Array, values: Array, near: float) -> tuple[float, int]:
    """Return the lowest cost of any assignment, and the most pairs that one of that cost keeps."""
    cost, is_near = 100 * np.round(distance) - values[:, None], distance < near
    rows, columns = cost.shape
    pairings = (
        [(np.arange(rows), np.array(p)) for p in permutations(range(columns), rows)]
        if rows <= columns
        else [(np.array(p), np.arange(columns)) for p in permutations(range(rows), columns)]
    )
    costs = np.array([cost[pairs].sum() for pairs in pairings])
    kept = np.array([is_near[pairs].sum() for pairs in pairings])
    return float(costs.min()), int(kept[costs < costs.min() + 1e-9].max())


BEST = GroupingSettings((), compat=False)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (4, 5)])
def test_assignment_has_the_lowest_cost_and_keeps_most_pairs(shape: tuple[int, int]) -> None:
    make = np.random.default_rng(shape)
    kept = 0
    for _ in range(60):
        # Equal heatmap values and one-dimensional tags make many assignments of equal cost.
        mine, theirs = make.uniform(0, 3, shape[0]), make.uniform(0, 3, shape[1])
        distance = np.abs(mine[:, None] - theirs)
        values = np.full(shape[0], 0.5) if make.random() < 0.5 else make.uniform(0.1, 1, shape[0])
        candidate, person = assign(distance, values, BEST)
        assert (np.diff(candidate) > 0).all()
        assert len(set(person.tolist())) == len(person)
        assert (distance[candidate, person] < 1).all()
        least, most = brute(distance, values, 1.0)
        assert len(candidate) == most
        kept += most
        # The kept pairs are part of an assignment of the lowest cost: the others complete it.
        others = np.setdiff1d(np.arange(shape[0]), candidate), np.setdiff1d(np.arange(shape[1]), person)
        own = float((100 * np.round(distance[candidate, person]) - values[candidate]).sum())
        rest = brute(distance[np.ix_(*others)], values[others[0]], 1.0)[0] if all(map(len, others)) else 0.0
        assert own + rest <= least + 1e-9
    assert kept


def test_infinite_tag_distances_do_not_prevent_assignment() -> None:
    for settings in (BEST, GroupingSettings(())):
        candidate, person = assign(np.array([[np.inf, 0.2]]), np.array([0.5]), settings)
        assert (candidate.tolist(), person.tolist()) == ([0], [1])


# Taken by munkres 1.0.12 and 1.1.4, the solver of the published code; SciPy takes others in the last three.
TIES = {
    ("ties a", 4, 4): [1, 3, 2, 0],
    ("ties b", 6, 4): [0, 1, 3, 2, -1, -1],
    ("ties c", 4, 7): [2, 3, 1, 4],
    ("ties d", 9, 8): [2, 0, 1, 4, 5, 7, 3, 6, -1],
    ("ties g", 7, 7): [2, 0, 1, 4, 6, 5, 3],
    ("ties h", 9, 9): [7, 1, 2, 5, 3, 0, 6, 8, 4],
}


@pytest.mark.parametrize("case", TIES, ids=[key for key, _, _ in TIES])
def test_ties_are_decided_as_published(case: tuple[str, int, int]) -> None:
    key, rows, columns = case
    distance = 1.6 * np.abs(uniform(key, rows * columns).reshape(rows, columns))
    cost = 100 * np.round(distance) - (0.9 - 0.05 * np.arange(rows))[:, None]
    assert cheapest_columns(cost) == TIES[case]


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (4, 5), (9, 9)])
def test_the_published_solver_finds_the_lowest_cost(shape: tuple[int, int]) -> None:
    make = np.random.default_rng(shape)
    for _ in range(40):
        cost = make.integers(0, 3, shape) * 100.0 - make.uniform(0.1, 1, (shape[0], 1))
        column = np.array(cheapest_columns(cost))
        row = np.flatnonzero(column >= 0)
        assert len(row) == min(shape)
        assert len(set(column[row].tolist())) == len(row)
        # Too many rows: at 1e10 each, those left out are chosen up to the precision of such numbers.
        assert cost[row, column[row]].sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum(), abs=1e-4)


def test_limit_of_people() -> None:
    heat, tags = np.zeros((2, 12, 12), np.float32), np.zeros((1, 2, 12, 12), np.float32)
    for number in range(3):
        heat[:, 2 + 4 * number, 3] = 0.9
        tags[0, 0, 2 + 4 * number, 3] = 10 * number
        tags[0, 1, 2 + 4 * number, 3] = 10 * number + 5 * (number == 2)
    found = find_candidates(torch.from_numpy(heat), torch.from_numpy(tags), 0.1, 30)
    published = match(found, GroupingSettings((0, 1), max_people=3))
    assert (published >= 0).tolist() == [[True, False]] * 3  # joint 1 is skipped
    ours = match(found, GroupingSettings((0, 1), max_people=3, compat=False))
    assert (ours >= 0).sum(0).tolist() == [3, 2]  # the third tag of joint 1 fits no person, and starts none
    without = match(found, GroupingSettings((0, 1), max_people=4))
    assert (without >= 0).sum(0).tolist() == [3, 3]
    assert len(without) == 4
