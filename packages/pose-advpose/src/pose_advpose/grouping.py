"""Grouping of heatmap peaks into people by their tags.

Peaks of all joints are found on the device of the maps and copied to the CPU once; there they are assigned to people,
a joint at a time, by optimal assignment; missing joints are then searched on the device again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from pose_advpose.hungarian import SURPLUS, cheapest_columns
from pose_advpose.refine import RUN, best_near_scores, best_peak_scores, search_everywhere, search_where_high
from pose_core.skeleton import Skeleton

Array = np.ndarray

PARTS = ("shoulder", "hip", "elbow", "wrist", "knee", "ankle")
"""Joints are assigned in this order, after all others (the face): those that separate people best come first."""
TIE = 1e-6
"""Extra cost that breaks ties between equally good assignments."""


@dataclass(frozen=True)
class GroupingSettings:
    """Settings of grouping; ``order`` is the order in which joints are assigned, see `assignment_order`.

    ``window`` is the side of the square in which a peak is the highest pixel, 3 or 5.

    ``compat`` repeats the original code where it could do better. Of equally good assignments, which are common as tag
    distances are rounded, it takes the one that the original's solver takes. Once there are ``max_people`` people, all
    further joints are left to refinement, although the joint before may have made more people than that. And below the
    map's row K − 1, the quarter-pixel shift in y of a refined joint compares the wrong pixel. Without ``compat`` the
    assignment that keeps most joints is taken, the further joints are assigned without making new people, and every
    shift compares the joint's neighbors.
    """

    order: tuple[int, ...]
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    max_people: int = 30
    refine: bool = True
    compat: bool = True
    window: int = 3


class Candidates(NamedTuple):
    """The ``M`` peaks of all joints, sorted by joint, then from high to low; those of joint j begin at ``starts[j]``.

    ``places`` ``(M, 2)`` are whole pixels x and y; ``fine`` ``(M, 2)`` are pixel centers shifted by a quarter towards
    the higher neighbors; ``values`` are ``(M,)``, ``tags`` ``(M, D)``. All values exceed ``threshold``.
    """

    starts: Array
    places: Array
    fine: Array
    values: Array
    tags: Array
    threshold: float


class Grouped(NamedTuple):
    """People in the maps' pixels: ``points`` ``(N, K, 2)``, ``values`` ``(N, K)``, ``scores`` ``(N,)``.

    A joint's value is its heatmap value; 1 if refinement found it, 0 if it is missing. The score is the mean heatmap
    value before refinement.
    """

    points: Tensor
    values: Tensor
    scores: Tensor


def assignment_order(skeleton: Skeleton) -> tuple[int, ...]:
    """Return the joints in order from face and torso to ankles; for COCO this is the published order."""

    def rank(joint: int) -> int:
        part = skeleton.joints[joint].split("_")[-1]
        return PARTS.index(part) if part in PARTS else -1

    return tuple(sorted(range(skeleton.num_joints), key=rank))


def group(heatmaps: Tensor, tags: Tensor, settings: GroupingSettings) -> Grouped:
    """Group joints of one image's ``heatmaps`` ``(K, h, w)`` and ``tags`` ``(D, K, h, w)`` into people."""
    heatmaps, tags = heatmaps.contiguous(), tags.contiguous()
    candidates = find_candidates(heatmaps, tags, settings.detection_threshold, settings.max_people, settings.window)
    chosen = match(candidates, settings)
    has = chosen >= 0
    points = np.where(has[..., None], candidates.fine[chosen], 0) if len(chosen) else np.zeros((*has.shape, 2))
    values = np.where(has, candidates.values[chosen], 0) if len(chosen) else np.zeros(has.shape)
    scores = values.mean(1)
    if settings.refine and not has.all():
        person, joint, fine, heat = find_missing(heatmaps, tags, candidates, chosen, compat=settings.compat)
        present = heat > 0
        points[person, joint] = np.where(present[:, None], fine, 0)
        values[person, joint] = present
    return Grouped(*(torch.from_numpy(part).to(heatmaps.dtype) for part in (points, values, scores)))


def find_candidates(heatmaps: Tensor, tags: Tensor, threshold: float, max_people: int, window: int = 3) -> Candidates:
    """Find the ``max_people`` highest peaks of each joint: maxima of a ``window`` that exceed ``threshold``."""
    joints, height, width = heatmaps.shape
    index = _peaks(heatmaps, threshold)
    if window > 3:
        index = _highest_within(heatmaps, index, window // 2)
    heat, tag = _flat(heatmaps, 0), _flat(tags, 1)
    owner = index // (height * width)
    table = _table(
        owner, heat.take(index), *_fine(heat, index, (height, width), height - 1), *(own.take(index) for own in tag)
    )
    # A diverged network may give NaN tags: drop those peaks.
    table = table.take(np.flatnonzero(np.isfinite(table).all(0)), 1)
    table = table.take(np.lexsort((-table[1], table[0])), 1)
    owner = table[0].astype(int)
    rank = np.arange(len(owner)) - np.searchsorted(owner, np.arange(joints))[owner]
    table = table.take(np.flatnonzero(rank < max_people), 1)
    starts = np.searchsorted(table[0], np.arange(joints + 1))
    rows = table.T.copy()
    return Candidates(starts, rows[:, 2:4], rows[:, 4:6], rows[:, 1], rows[:, 6:], threshold)


def match(candidates: Candidates, settings: GroupingSettings) -> Array:
    """Assign candidates to people; return each person's row of each joint ``(N, K)``, or −1.

    A candidate that `assign` does not assign starts a new person. People are identified by number; the published code
    identified them by their first tag, and so merged people with equal tags.
    """
    rows = len(candidates.values)
    chosen = np.full((rows, len(candidates.starts) - 1), -1)
    # As published in float64: distances are rounded, and a float32 mean can be on the other side of a half.
    all_tags = candidates.tags.astype(np.float64)
    sums, counts = np.zeros((rows, all_tags.shape[1])), np.zeros((rows, 1))
    people, starts = 0, candidates.starts.tolist()
    for joint in settings.order:
        start, end = starts[joint : joint + 2]
        if start == end or (people >= settings.max_people and settings.compat):
            continue
        tags, is_new = all_tags[start:end], np.ones(end - start, bool)
        if people:
            apart = tags[:, None] - (sums[:people] / counts[:people])[None]
            distance = np.sqrt(np.square(apart).mean(2))
            candidate, person = assign(distance, candidates.values[start:end], settings)
            is_new[candidate] = False
            chosen[person, joint] = start + candidate
            sums[person] += tags[candidate]
            counts[person] += 1
        new = np.flatnonzero(is_new)
        if not settings.compat:
            new = new[: settings.max_people - people]
        made = slice(people, people + len(new))
        chosen[made, joint] = start + new
        sums[made], counts[made] = tags[new], 1
        people += len(new)
    return chosen[:people]


def assign(distance: Array, values: Array, settings: GroupingSettings) -> tuple[Array, Array]:
    """Assign candidates to people by tag ``distance`` ``(C, N)`` and heatmap ``values`` ``(C,)``.

    Return the assigned candidates ``(A,)``, ascending, and their people ``(A,)``. The total cost is minimal: 100 times
    the rounded distance, minus the value. Pairs whose distance is not below the tag threshold are then dropped.
    """
    is_near = distance < settings.tag_threshold
    cost = np.minimum(100 * np.rint(distance).astype(np.float64) - values[:, None], SURPLUS)
    if settings.compat:
        person = np.array(cheapest_columns(cost))
        candidate = np.flatnonzero(person >= 0)
        person = person[candidate]
    else:
        candidate, person = linear_sum_assignment(cost + TIE * ~is_near)
    kept = is_near[candidate, person]
    return candidate[kept], person[kept]


def find_missing(
    heatmaps: Tensor, tags: Tensor, candidates: Candidates, chosen: Array, *, compat: bool = True
) -> tuple[Array, Array, Array, Array]:
    """Search the joints that people in ``chosen`` ``(N, K)`` lack.

    Return person and joint ``(M,)``, the best position ``(M, 2)``, and the heatmap value there ``(M,)``. With
    ``compat`` the row below is row K − 1 at most, see `GroupingSettings`.
    """
    count, height, width = heatmaps.shape
    has = chosen >= 0
    sums = np.where(has[..., None], candidates.tags[chosen], 0).sum(1)
    mean_tags = (sums / has.sum(1, keepdims=True)).astype(candidates.tags.dtype)
    joint, person = np.nonzero(~has.T)
    mean_tags = mean_tags[person]
    heat, tag = _flat(heatmaps, 1), _flat(tags, 2)
    index: Any
    if heatmaps.device.type == "cpu":
        bounds = best_peak_scores(joint, mean_tags, candidates.starts, candidates.values, candidates.tags)
        low = np.flatnonzero(~(bounds > candidates.threshold))
        if len(low):
            places = np.where(has[..., None], candidates.places[chosen], 0).sum(1) // has.sum(1, keepdims=True)
            near = best_near_scores(heat, tag, joint[low], mean_tags[low], places[person[low]].astype(int), width)
            # fmax: a diverged network may give NaN.
            bounds[low] = np.fmax(bounds[low], near)
        index = search_where_high(heat, tag, joint, mean_tags, bounds, candidates.threshold)
        index += joint * (height * width)
    else:
        index = search_everywhere(heat, tag, joint, mean_tags)
        index += torch.from_numpy(joint * (height * width)).to(index)
    heat, lowest = heat.reshape(-1), count - 1 if compat else height - 1
    table = _table(*_fine(heat, index, (height, width), lowest)[2:], heat.take(index))
    return person, joint, table[:2].T, table[2]


def _flat(maps: Tensor, dimensions: int) -> Any:
    """Flatten all but the first ``dimensions`` axes; on a CPU to a NumPy array, which is faster for small steps."""
    rows: Any = np.ascontiguousarray(maps.numpy()) if maps.device.type == "cpu" else maps
    return rows.reshape(*rows.shape[:dimensions], -1)


def _table(*columns: Any) -> Array:
    """Stack columns ``(M,)`` to an array ``(C, M)``, with one copy from their device."""
    if isinstance(columns[0], Tensor):
        return torch.stack([column.float() for column in columns]).cpu().numpy()
    return np.array(columns, np.float32)


def _peaks(heatmaps: Tensor, threshold: float) -> Any:
    """Find the pixels of maps ``(K, h, w)`` that exceed the threshold and are not exceeded by a neighbor.

    Return their ascending indices into the flattened maps.
    """
    if heatmaps.device.type != "cpu":
        is_peak = (heatmaps == functional.max_pool2d(heatmaps[None], 3, 1, 1)[0]) & (heatmaps > threshold)
        return is_peak.flatten().nonzero()[:, 0]
    _, height, width = heatmaps.shape
    heat, filling = _flat(heatmaps, 0), -width % RUN
    lines = heat.reshape(-1, width)
    if filling:
        lines = np.pad(lines, ((0, 0), (0, filling)), constant_values=-np.inf)
    runs = np.flatnonzero((lines > threshold).view(np.uint64).ravel() != 0)
    own = lines.reshape(-1, RUN).take(runs, 0).ravel()
    # Most pixels are lower than a neighbor in their row, which is the next in the list, unless runs are apart.
    is_apart = (np.diff(runs) > 1) | (runs[1:] % (lines.shape[1] // RUN) == 0)
    is_highest = own > threshold
    for part, fits in ((slice(-1), own[:-1] >= own[1:]), (slice(1, None), own[:-1] <= own[1:])):
        fits[RUN - 1 :: RUN] |= is_apart
        is_highest[part] &= fits
    at = np.flatnonzero(is_highest)
    index = runs.take(at // RUN) * RUN + at % RUN
    if filling:
        index -= index // lines.shape[1] * filling
    row = index // width % height
    value, above, below = heat.take(index), index - width * (row > 0), index + width * (row < height - 1)
    index = index.take(np.flatnonzero((value >= heat.take(above)) & (value >= heat.take(below))))
    # The few that are left are compared with all neighbors inside the map.
    line = index // width
    column, row = index - line * width, line % height
    lines = np.array([index - width * (row > 0), index, index + width * (row < height - 1)])
    around = np.array([lines - (column > 0), lines + (column < width - 1)])
    return index[(heat.take(index) >= heat.take(around)).all((0, 1))]


def _highest_within(heatmaps: Tensor, index: Any, radius: int) -> Any:
    """Return those of the pixels ``index`` ``(M,)`` of maps ``(K, h, w)`` that no pixel within ``radius`` exceeds."""
    _, height, width = heatmaps.shape
    places = torch.as_tensor(index, device=heatmaps.device)
    line = places // width
    column, row = places - line * width, line % height
    steps = torch.arange(-radius, radius + 1, device=heatmaps.device)
    columns = (column[:, None] + steps).clamp(0, width - 1)
    lines = (line - row)[:, None] + (row[:, None] + steps).clamp(0, height - 1)
    around = heatmaps.reshape(-1).take(lines[:, :, None] * width + columns[:, None])
    kept = heatmaps.reshape(-1).take(places) >= around.flatten(1).amax(1)
    return index[kept.numpy() if isinstance(index, np.ndarray) else kept]


def _fine(heat: Any, index: Any, size: tuple[int, int], lowest: int) -> tuple[Any, Any, Any, Any]:
    """Return columns and rows of pixels, then of their centers shifted by a quarter towards the higher neighbors.

    ``index`` ``(M,)`` are pixels in ``heat``, the flattened maps of ``size`` (h, w): arrays or tensors. The row below
    is ``lowest`` at most.
    """
    height, width = size
    line = index // width
    column, row = index - line * width, line % height
    right, left = heat.take(index + (column < width - 1)), heat.take(index - 1 + (column == 0))
    lowest = min(lowest, height - 1)
    down = 1 - (row + 1 - lowest) * (row >= lowest)
    below, above = heat.take(index + width * down), heat.take(index - width + width * (row == 0))
    return column, row, column + 0.25 + 0.5 * (right > left), row + 0.25 + 0.5 * (below > above)
