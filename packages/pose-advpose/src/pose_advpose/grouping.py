"""From everyone's heatmaps and tags to people.

Peaks of all joints are found on the device of the maps and read back once; who is whose is decided on the CPU, a joint
at a time, by optimal assignment; missing joints are then looked for on the device again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pose_advpose.search import likely_peaks, search_everywhere, search_where_hot
from pose_core.skeleton import Skeleton

Array = np.ndarray

PARTS = ("shoulder", "hip", "elbow", "wrist", "knee", "ankle")
"""After all others (the face), joints are assigned in this order: where people are told apart best comes first."""
WORST = 1e10
"""Cost of a pair whose tags have no distance that a number can hold."""
TIE = 1e-6
"""Cost by which equally good assignments are told apart."""


@dataclass(frozen=True)
class GroupingSettings:
    """``order`` is that of assigning joints, see `assignment_order`.

    ``published`` is the original code to the letter. Once there are ``max_people``, a joint whose turn comes is left to
    refinement, and one whose turn came just before may have made more people. And below the map's row K − 1, a joint
    that refinement finds moves a quarter down or up by the wrong pixel. Otherwise joints are assigned to the end
    without making new people, and every joint moves by its neighbours.
    """

    order: tuple[int, ...]
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    max_people: int = 30
    refine: bool = True
    published: bool = True


class Candidates(NamedTuple):
    """Peaks of every joint, by joint and from high to low: ``M`` rows, those of joint j from ``starts[j]`` on.

    ``places`` ``(M, 2)`` are whole pixels x and y, ``fine`` ``(M, 2)`` the same moved a quarter towards the higher
    neighbours and to the pixels' middles; ``values`` ``(M,)``, ``tags`` ``(M, D)``. ``hot`` are the places in the
    flattened maps that exceed the ``threshold``, ascending, where the maps are on a CPU.
    """

    starts: Array
    places: Array
    fine: Array
    values: Array
    tags: Array
    hot: Array | None
    threshold: float


class Grouped(NamedTuple):
    """People in the maps' pixels: ``points`` ``(N, K, 2)``, ``values`` ``(N, K)``, ``scores`` ``(N,)``.

    A joint's value is its heat; that of one which refinement found is 1, of a missing one 0. The score is the mean
    heat before refinement.
    """

    points: Tensor
    values: Tensor
    scores: Tensor


def assignment_order(skeleton: Skeleton) -> tuple[int, ...]:
    """Joints from the face over the trunk to the ankles; COCO's are in the published order."""

    def rank(joint: int) -> int:
        part = skeleton.joints[joint].split("_")[-1]
        return PARTS.index(part) if part in PARTS else -1

    return tuple(sorted(range(skeleton.num_joints), key=rank))


def group(heatmaps: Tensor, tags: Tensor, settings: GroupingSettings) -> Grouped:
    """People in one image's ``heatmaps`` ``(K, h, w)`` and ``tags`` ``(D, K, h, w)``, in the order they were made."""
    found = find_candidates(heatmaps, tags, settings.detection_threshold, settings.max_people)
    chosen = match(found, settings)
    has = chosen >= 0
    points = np.where(has[..., None], found.fine[chosen], 0) if len(chosen) else np.zeros((*has.shape, 2))
    values = np.where(has, found.values[chosen], 0) if len(chosen) else np.zeros(has.shape)
    scores = values.mean(1)
    if settings.refine and not has.all():
        person, joint, fine, heat = find_missing(heatmaps, tags, found, chosen, published=settings.published)
        seen = heat > 0
        points[person[seen], joint[seen]] = fine[seen]
        values[person[seen], joint[seen]] = 1
    return Grouped(*(torch.from_numpy(part).to(heatmaps.dtype) for part in (points, values, scores)))


def find_candidates(heatmaps: Tensor, tags: Tensor, threshold: float, most: int) -> Candidates:
    """The ``most`` highest peaks of every joint that exceed ``threshold``. A peak is the highest of its 3×3 pixels."""
    joints, height, width = heatmaps.shape
    index, hot = _peaks(heatmaps, threshold)
    line = index // width
    heat, tag = _flat(heatmaps, 0), _flat(tags, 1)
    place = (line // height, index - line * width, line % height)
    rows = _table(
        *place, heat.take(index), *_fine(heat, index, (height, width), height - 1), *(t.take(index) for t in tag)
    )
    # What a diverged network tags with no number belongs to nobody.
    rows = rows[np.isfinite(rows).all(1)]
    rows = rows[np.lexsort((-rows[:, 3], rows[:, 0]))]
    owner = rows[:, 0].astype(int)
    rank = np.arange(len(rows)) - np.searchsorted(owner, np.arange(joints))[owner]
    rows, owner = rows[rank < most], owner[rank < most]
    starts = np.searchsorted(owner, np.arange(joints + 1))
    return Candidates(starts, rows[:, 1:3], rows[:, 4:6], rows[:, 3], rows[:, 6:], hot, threshold)


def match(found: Candidates, settings: GroupingSettings) -> Array:
    """People ``(N, K)``: for each joint a candidate's row, or −1.

    A candidate that `assign` leaves out is a new person. People are kept by number; the published code kept them by
    their first tag, and merged those with equal ones.
    """
    rows = len(found.values)
    chosen = np.full((rows, len(found.starts) - 1), -1)
    sums = np.zeros((rows, found.tags.shape[1]), found.tags.dtype)
    counts = np.zeros((rows, 1), found.tags.dtype)
    people = 0
    for joint in settings.order:
        start, end = found.starts[joint : joint + 2]
        if start == end or (people >= settings.max_people and settings.published):
            continue
        tags, is_new = found.tags[start:end], np.ones(end - start, bool)
        if people:
            apart = tags[:, None] - (sums[:people] / counts[:people])[None]
            distance = np.sqrt(np.square(apart).mean(2))
            who, whom = assign(distance, found.values[start:end], settings.tag_threshold)
            is_new[who] = False
            chosen[whom, joint] = start + who
            sums[whom] += tags[who]
            counts[whom] += 1
        new = np.flatnonzero(is_new)
        if not settings.published:
            new = new[: settings.max_people - people]
        made = slice(people, people + len(new))
        chosen[made, joint] = start + new
        sums[made], counts[made] = tags[new], 1
        people += len(new)
    return chosen[:people]


def assign(distance: Array, values: Array, near: float) -> tuple[Array, Array]:
    """Candidates ``(A,)``, ascending, and their people ``(A,)``, for tags' ``distance`` ``(C, N)`` and heats ``(C,)``.

    The total cost is the least: of everyone assigned a hundred for every whole step between tags, less the heat. Those
    whose distance is not below ``near`` are then left out. Whole steps make ties, and on one tag dimension they are
    the rule where joints are missing; among equals the most are kept, where the published solver took any.
    """
    is_near = distance < near
    cost = 100 * np.rint(distance).astype(np.float64) - values[:, None]
    who, whom = linear_sum_assignment(np.minimum(cost, WORST) + TIE * ~is_near)
    kept = is_near[who, whom]
    return who[kept], whom[kept]


def find_missing(
    heatmaps: Tensor, tags: Tensor, found: Candidates, chosen: Array, *, published: bool = True
) -> tuple[Array, Array, Array, Array]:
    """Joints that ``chosen`` ``(N, K)`` lacks: whose and which ``(M,)``, where most likely ``(M, 2)``, and the heat.

    ``published`` has the row below end where the joints do, see `GroupingSettings`.
    """
    count, height, width = heatmaps.shape
    has = chosen >= 0
    sums = np.where(has[..., None], found.tags[chosen], 0).sum(1)
    wanted = (sums / has.sum(1, keepdims=True)).astype(found.tags.dtype)
    joint, person = np.nonzero(~has.T)
    wanted = wanted[person]
    heat, tag = _flat(heatmaps, 1), _flat(tags, 2)
    index: Any
    if found.hot is not None:
        known = likely_peaks(joint, wanted, found.starts, found.values, found.tags)
        index = search_where_hot(heat, tag, joint, wanted, known, found.hot, found.threshold)
        index += joint * (height * width)
    else:
        index = search_everywhere(heat, tag, joint, wanted)
        index += torch.from_numpy(joint * (height * width)).to(index)
    heat, lowest = heat.reshape(-1), count - 1 if published else height - 1
    rows = _table(*_fine(heat, index, (height, width), lowest), heat.take(index))
    return person, joint, rows[:, :2], rows[:, 2]


def _flat(maps: Tensor, dimensions: int) -> Any:
    """Maps with so many dimensions before the pixels left; on a CPU NumPy's, which takes small steps sooner."""
    rows = maps.reshape(*maps.shape[:dimensions], -1)
    return rows.numpy() if maps.device.type == "cpu" else rows


def _table(*columns: Any) -> Array:
    """Columns ``(M,)`` beside one another ``(M, C)``, read from their device at once."""
    if isinstance(columns[0], Tensor):
        return torch.stack([column.float() for column in columns], 1).cpu().numpy()
    return np.stack(columns, 1).astype(np.float32)


def _peaks(heatmaps: Tensor, threshold: float) -> tuple[Any, Array | None]:
    """Places in the flattened maps ``(K, h, w)`` that exceed the threshold, and no neighbour exceeds them, ascending.

    On a CPU also the places that exceed the threshold, ascending: few are looked at more than once.
    """
    if heatmaps.device.type != "cpu":
        is_peak = (heatmaps == functional.max_pool2d(heatmaps[None], 3, 1, 1)[0]) & (heatmaps > threshold)
        return is_peak.flatten().nonzero()[:, 0], None
    height, width = heatmaps.shape[1:]
    heat = _flat(heatmaps, 0)
    is_peak = heat > threshold
    hot = np.flatnonzero(is_peak)
    # Most fall beside their neighbours in the row; at an edge there is none.
    is_higher = np.empty((len(heatmaps), height, width), bool)
    flat = is_higher.reshape(-1)
    np.greater_equal(heat[:-1], heat[1:], out=flat[:-1])
    is_higher[..., -1] = True
    is_peak &= flat
    np.greater_equal(heat[1:], heat[:-1], out=flat[1:])
    is_higher[..., 0] = True
    is_peak &= flat
    index = np.flatnonzero(is_peak)
    line = index // width
    column, row = index - line * width, line % height
    left, right = -(column > 0).astype(np.int64), (column < width - 1).astype(np.int64)
    up, down = -width * (row > 0), width * (row < height - 1)
    around = index + np.stack([up + left, up, up + right, down + left, down, down + right])
    return index[(heat.take(index) >= heat.take(around)).all(0)], hot


def _fine(heat: Any, index: Any, size: tuple[int, int], lowest: int) -> tuple[Any, Any]:
    """Columns and rows of pixels' middles, moved a quarter right, and down, where it is hotter there than opposite.

    Pixels are places ``index`` ``(M,)`` in ``heat``, the flattened maps of ``size`` (h, w): arrays, or tensors. The row
    below is ``lowest`` at most.
    """
    height, width = size
    line = index // width
    column, row = index - line * width, line % height
    right, left = heat.take(index + (column < width - 1)), heat.take(index + -1 * (column > 0))
    down = (row + 1).clip(max=min(lowest, height - 1)) - row
    below, above = heat.take(index + width * down), heat.take(index + -width * (row > 0))
    return column + 0.25 + 0.5 * (right > left), row + 0.25 + 0.5 * (below > above)
