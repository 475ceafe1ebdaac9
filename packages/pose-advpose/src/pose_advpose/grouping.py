"""From everyone's heatmaps and tags to people.

Peaks of all joints are found on the device of the maps and read back once; who is whose is decided on the CPU, a joint
at a time, by optimal assignment; missing joints are then looked for on the device again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
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
    neighbours and to the pixels' middles; ``values`` ``(M,)``, ``tags`` ``(M, D)``.
    """

    starts: Array
    places: Array
    fine: Array
    values: Array
    tags: Array


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
    index = _peaks(heatmaps, threshold)
    joint, place = index // (height * width), index % (height * width)
    row, column = place // width, place % width
    picked = tags.flatten(1)[:, index].T
    known = torch.stack([joint, column, row, heatmaps.reshape(-1)[index]], 1)
    rows = torch.cat([known, _fine(heatmaps, joint, column, row, height - 1), picked], 1).cpu().numpy()
    # What a diverged network tags with no number belongs to nobody.
    rows = rows[np.isfinite(rows).all(1)]
    rows = rows[np.lexsort((-rows[:, 3], rows[:, 0]))]
    owner = rows[:, 0].astype(int)
    rank = np.arange(len(rows)) - np.searchsorted(owner, np.arange(joints))[owner]
    rows, owner = rows[rank < most], owner[rank < most]
    starts = np.searchsorted(owner, np.arange(joints + 1))
    return Candidates(starts, rows[:, 1:3], rows[:, 4:6], rows[:, 3], rows[:, 6:])


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
    where, wanted = torch.from_numpy(joint).to(heatmaps.device), wanted[person]
    heat, tag = heatmaps.flatten(1), tags.flatten(2)
    if heat.device.type == "cpu":
        known = likely_peaks(joint, wanted, found.starts, found.values, found.tags)
        place = torch.from_numpy(search_where_hot(heat.numpy(), tag.numpy(), joint, wanted, known))
    else:
        place = search_everywhere(heat, tag, joint, wanted)
    row, column = place // width, place % width
    fine = _fine(heatmaps, where, column, row, lowest=count - 1 if published else height - 1)
    rows = torch.cat([fine, heatmaps[where, row, column][:, None]], 1).cpu().numpy()
    return person, joint, rows[:, :2], rows[:, 2]


def _peaks(heatmaps: Tensor, threshold: float) -> Tensor:
    """Places in the flattened maps ``(K, h, w)`` that exceed the threshold, and no neighbour exceeds them."""
    if heatmaps.device.type == "cpu":
        maps = heatmaps.contiguous().numpy()
        widest, found, square = np.empty_like(maps[0]), np.empty(maps.shape, bool), np.ones((3, 3), np.uint8)
        for plane, is_peak in zip(maps, found, strict=True):
            cv2.dilate(plane, square, dst=widest)
            np.equal(plane, widest, out=is_peak)
            is_peak &= plane > threshold
        return torch.from_numpy(np.flatnonzero(found))
    is_peak = (heatmaps == functional.max_pool2d(heatmaps[None], 3, 1, 1)[0]) & (heatmaps > threshold)
    return is_peak.flatten().nonzero()[:, 0]


def _fine(heatmaps: Tensor, joint: Tensor, column: Tensor, row: Tensor, lowest: int) -> Tensor:
    """The middles of pixels ``(M, 2)`` moved a quarter right, and down, where it is hotter there than opposite.

    The row below is ``lowest`` at most.
    """
    height, width = heatmaps.shape[1:]
    lowest = min(lowest, height - 1)
    right = heatmaps[joint, row, (column + 1).clamp_max(width - 1)] > heatmaps[joint, row, (column - 1).clamp_min(0)]
    below = heatmaps[joint, (row + 1).clamp_max(lowest), column] > heatmaps[joint, (row - 1).clamp_min(0), column]
    pixel, is_more = torch.stack([column, row], 1), torch.stack([right, below], 1)
    return pixel.to(heatmaps.dtype) + 0.25 + 0.5 * is_more
