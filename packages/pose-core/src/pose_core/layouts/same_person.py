"""Find the same people in two annotations of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_core.geometry import box_overlap
from pose_core.layouts.formats.labeled import LabeledPerson
from pose_core.layouts.formats.people import Box, box_around

SAME_PERSON = 0.7
"""Most of the distance between two people, from 0 to 1, for one to be the other after a correction."""


def match_people(before: Sequence[LabeledPerson], after: Sequence[LabeledPerson]) -> dict[int, int]:
    """Return, by number of a person of ``after``, the number of the same person of ``before``."""
    if not before or not after:
        return {}
    from scipy.optimize import linear_sum_assignment  # slow to import

    cost = np.array([[_distance(old, new) for old in before] for new in after])
    rows, columns = linear_sum_assignment(cost)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {new: old for new, old in pairs if cost[new, old] < SAME_PERSON}


def _distance(first: LabeledPerson, second: LabeledPerson) -> float:
    """Return 0 for one person to 1 for two that have nothing in common: by joints or by boxes, whichever is less."""
    both = (first.joints[:, 2] > 0) & (second.joints[:, 2] > 0)
    boxes = np.array([_box(person) for person in (first, second)], np.float64)
    side = max(1.0, float(boxes[:, 2:].max()))
    apart = np.linalg.norm(first.joints[both, :2] - second.joints[both, :2], axis=1) / (side / 4)
    by_joints = float(np.minimum(apart, 1).mean()) if both.any() else 1.0
    return min(by_joints, 1 - float(box_overlap(*boxes)))


def _box(person: LabeledPerson) -> Box:
    return person.box or box_around(person.joints, (0, 0))
