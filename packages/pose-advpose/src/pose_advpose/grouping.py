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

from pose_advpose.refine import likely_peaks, search_everywhere, search_where_hot
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
    without making new people, and every joint moves by its neighbors.
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
    neighbors and to the pixels' middles; ``values`` ``(M,)``, ``tags`` ``(M, D)``. ``hot`` are the places in the
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
        points[person, joint] = np.where(seen[:, None], fine, 0)
        values[person, joint] = seen
    return Grouped(*(torch.from_numpy(part).to(heatmaps.dtype) for part in (points, values, scores)))


def find_candidates(heatmaps: Tensor, tags: Tensor, threshold: float, most: int) -> Candidates:
    """The ``most`` highest peaks of every joint that exceed ``threshold``. A peak is the highest of its 3×3 pixels."""
    joints, height, width = heatmaps.shape
    index, hot = _peaks(heatmaps, threshold)
    heat, tag = _flat(heatmaps, 0), _flat(tags, 1)
    owner = index // (height * width)
    table = _table(
        owner, heat.take(index), *_fine(heat, index, (height, width), height - 1), *(own.take(index) for own in tag)
    )
    # What a diverged network tags with no number belongs to nobody.
    table = table.take(np.flatnonzero(np.isfinite(table).all(0)), 1)
    table = table.take(np.lexsort((-table[1], table[0])), 1)
    owner = table[0].astype(int)
    rank = np.arange(len(owner)) - np.searchsorted(owner, np.arange(joints))[owner]
    table = table.take(np.flatnonzero(rank < most), 1)
    starts = np.searchsorted(table[0], np.arange(joints + 1))
    rows = table.T.copy()
    return Candidates(starts, rows[:, 2:4], rows[:, 4:6], rows[:, 1], rows[:, 6:], hot, threshold)


def match(found: Candidates, settings: GroupingSettings) -> Array:
    """People ``(N, K)``: for each joint a candidate's row, or −1.

    A candidate that `assign` leaves out is a new person. People are kept by number; the published code kept them by
    their first tag, and merged those with equal ones.
    """
    rows = len(found.values)
    chosen = np.full((rows, len(found.starts) - 1), -1)
    sums = np.zeros((rows, found.tags.shape[1]), found.tags.dtype)
    counts = np.zeros((rows, 1), found.tags.dtype)
    people, starts = 0, found.starts.tolist()
    for joint in settings.order:
        start, end = starts[joint : joint + 2]
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
    table = _table(*_fine(heat, index, (height, width), lowest)[2:], heat.take(index))
    return person, joint, table[:2].T, table[2]


def _flat(maps: Tensor, dimensions: int) -> Any:
    """Maps with so many dimensions before the pixels left; on a CPU NumPy's, which takes small steps sooner."""
    rows: Any = maps.numpy() if maps.device.type == "cpu" else maps
    return rows.reshape(*maps.shape[:dimensions], -1)


def _table(*columns: Any) -> Array:
    """Columns ``(M,)`` above one another ``(C, M)``, read from their device at once."""
    if isinstance(columns[0], Tensor):
        return torch.stack([column.float() for column in columns]).cpu().numpy()
    return np.array(columns, np.float32)


def _peaks(heatmaps: Tensor, threshold: float) -> tuple[Any, Array | None]:
    """Places in the flattened maps ``(K, h, w)`` that exceed the threshold, and no neighbor exceeds them, ascending.

    On a CPU also the places that exceed the threshold, ascending: few are looked at more than once.
    """
    if heatmaps.device.type != "cpu":
        is_peak = (heatmaps == functional.max_pool2d(heatmaps[None], 3, 1, 1)[0]) & (heatmaps > threshold)
        return is_peak.flatten().nonzero()[:, 0], None
    height, width = heatmaps.shape[1:]
    heat = _flat(heatmaps, 0)
    hot = np.flatnonzero(heat > threshold)
    # Most fall beside their neighbors in the row, who stand beside them in the list, too.
    value, is_next = heat.take(hot), np.diff(hot + hot // width) == 1
    is_highest = np.ones(len(hot), bool)
    is_highest[1:] = ~(is_next & (value[1:] < value[:-1]))
    is_highest[:-1] &= ~(is_next & (value[1:] > value[:-1]))
    index = hot.take(np.flatnonzero(is_highest))
    row = index // width % height
    value, above, below = heat.take(index), index - width * (row > 0), index + width * (row < height - 1)
    index = index.take(np.flatnonzero((value >= heat.take(above)) & (value >= heat.take(below))))
    # Few are left, and are compared with all around them; at an edge there is none.
    line = index // width
    column, row = index - line * width, line % height
    lines = np.array([index - width * (row > 0), index, index + width * (row < height - 1)])
    around = np.array([lines - (column > 0), lines + (column < width - 1)])
    return index[(heat.take(index) >= heat.take(around)).all((0, 1))], hot


def _fine(heat: Any, index: Any, size: tuple[int, int], lowest: int) -> tuple[Any, Any, Any, Any]:
    """Columns and rows of pixels, and of their middles moved a quarter right, and down, where that is hotter.

    Pixels are places ``index`` ``(M,)`` in ``heat``, the flattened maps of ``size`` (h, w): arrays, or tensors. The row
    below is ``lowest`` at most.
    """
    height, width = size
    line = index // width
    column, row = index - line * width, line % height
    right, left = heat.take(index + (column < width - 1)), heat.take(index - 1 + (column == 0))
    lowest = min(lowest, height - 1)
    down = 1 - (row + 1 - lowest) * (row >= lowest)
    below, above = heat.take(index + width * down), heat.take(index - width + width * (row == 0))
    return column, row, column + 0.25 + 0.5 * (right > left), row + 0.25 + 0.5 * (below > above)
