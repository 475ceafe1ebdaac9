"""AP by joint, and of people of one kind: by size, visibility, number of labeled joints and crowding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pose_core.evaluation.analysis import CLASSES, Group, JointErrors
from pose_core.evaluation.coco import (
    AREAS,
    THRESHOLDS,
    Pairs,
    hidden_matches,
    match,
    mean_or_minus_one,
    precision_recall,
)
from pose_core.evaluation.crowdpose import LEVELS
from pose_core.evaluation.keypoint_errors import KeypointErrors, counts_of
from pose_core.evaluation.keypoint_files import Detections, GroundTruth
from pose_core.geometry import box_overlap
from pose_core.skeleton import Skeleton

Array = np.ndarray

OVERLAP = 0.1
"""IoU of boxes from which two annotated people overlap."""
LEVEL_NAMES = {"APE": "easy", "APM": "medium", "APH": "hard"}


def by_joint(
    truth: GroundTruth, found: Detections, errors: KeypointErrors, skeleton: Skeleton
) -> tuple[JointErrors, ...]:
    """Return the errors of each joint, and AP with its similarity alone instead of OKS.

    Detections keep the person whom they match at OKS 0.1. A detection of a person without this joint does not count.
    """
    order = np.argsort(-found.score, kind="stable")
    near = errors.person[order] >= 0
    counted = ~truth.ignore
    rows = []
    for joint, name in enumerate(skeleton.joints):
        kind, similarity = errors.kind[order, joint], errors.similarity[order, joint]
        labeled = kind >= 0
        true = labeled & (similarity >= THRESHOLDS[:, None])
        false = (labeled & ~true) | ~near
        persons = np.array([((truth.joints[..., joint, 2] > 0) & counted).sum()])
        precision, _ = precision_recall(true[None], np.broadcast_to(false, true.shape)[None], persons)
        rows.append(
            JointErrors(
                name=name,
                labeled=int(labeled.sum()),
                counts=counts_of(kind),
                score=mean_or_minus_one(precision),
                similarity=float(similarity[labeled].mean()) if labeled.any() else -1.0,
            )
        )
    return tuple(rows)


def by_size(
    truth: GroundTruth, found: Detections, similarity: Array, pairs: Pairs, errors: KeypointErrors
) -> tuple[Group, ...]:
    """Return AP of the COCO evaluation's sizes, by its own rules; people of other sizes are ignored."""
    limits = np.array(list(AREAS.values()))[1:]
    hidden = truth.ignore | (truth.area < limits[:, :1]) | (truth.area > limits[:, 1:])
    person = match(truth, found, pairs, similarity, hidden)
    outside = (found.area < limits[:, :1]) | (found.area > limits[:, 1:])
    covered = hidden_matches(person, hidden) | ((person < 0) & outside[:, None])
    order = np.argsort(-found.score, kind="stable")
    matched, covered = (person >= 0)[..., order], covered[..., order]
    precision, recall = precision_recall(matched & ~covered, ~matched & ~covered, (~hidden).sum(1))
    names = ("medium, 32² to 96²", "large, over 96²")
    return tuple(_group(name, ~hidden[row], precision[row], recall[row], errors) for row, name in enumerate(names))


def by_group(
    truth: GroundTruth, found: Detections, person: Array, nearest: Array, errors: KeypointErrors, categories: int = 1
) -> dict[str, tuple[Group, ...]]:
    """Return AP of people of each kind, by heading.

    ``person`` ``(T, D)`` are the matches. A detection that matches nobody counts in the group of the person nearest to
    it by OKS ``nearest`` ``(D,)``, and in no group if it is near none; by crowd index, in the group of its image.
    """
    labels = truth.joints[..., 2]
    labeled, visible = (labels > 0).sum(1), (labels > 1).sum(1)
    number, names = number_of_labeled(labeled, truth.joints.shape[1])
    share = visible / np.maximum(labeled, 1)
    overlaps = np.digitize(_overlaps(truth), [1, 3])
    crowding = ("0 overlap", "1 or 2 overlap", "3 or more overlap")
    seen = np.digitize(share, [0.5, 0.75, 1.0])
    headings: dict[str, tuple[Array, Sequence[str]]] = {
        "labeled joints": (number, names),
        "visible of labeled joints": (seen, ("below half", "half to 3/4", "3/4 to all", "all")),
        "people that overlap (IoU 0.1)": (overlaps, crowding),
        "labeled joints × overlap": (
            number * len(crowding) + overlaps, [f"{a}, {b}" for a in names for b in crowding],
        ),
    }  # fmt: skip
    result = {
        heading: _groups(truth, found, person, nearest, group, titles, errors)
        for heading, (group, titles) in headings.items()
    }
    if len(truth.image) and not np.isnan(truth.crowd_index).any():
        result["crowd index of the image"] = _by_crowd_index(truth, found, person, errors)
    return result


def _groups(
    truth: GroundTruth, found: Detections, person: Array, nearest: Array, group: Array, names: Sequence[str],
    errors: KeypointErrors,
) -> tuple[Group, ...]:  # fmt: skip
    own = np.where(nearest >= 0, group[np.maximum(nearest, 0)], -1) if len(group) else np.full(len(nearest), -1)
    return tuple(
        _scored(truth, found, person, group == number, own == number, name, errors) for number, name in enumerate(names)
    )


def _by_crowd_index(truth: GroundTruth, found: Detections, person: Array, errors: KeypointErrors) -> tuple[Group, ...]:
    rows = []
    for level, (low, high) in LEVELS.items():
        chosen = (truth.crowd_index >= low) & (truth.crowd_index < high)
        people, poses = chosen[truth.image], chosen[found.image]
        rows.append(_scored(truth, found, person, people, poses, f"{LEVEL_NAMES[level]}, {level}", errors))
    return tuple(rows)


def _scored(
    truth: GroundTruth, found: Detections, person: Array, people: Array, poses: Array, name: str, errors: KeypointErrors
) -> Group:
    """Return AP of some people ``(G,)``, with the unmatched detections ``poses`` ``(D,)`` as false positives."""
    counted = people & ~truth.ignore
    true = (person >= 0) & (counted[np.maximum(person, 0)] if len(counted) else False)
    false = (person < 0) & poses
    rows = np.flatnonzero(true.any(0) | false.any(0))
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    precision, recall = precision_recall(true[None][..., rows], false[None][..., rows], np.array([counted.sum()]))
    return _group(name, counted, precision, recall, errors)


def _group(name: str, people: Array, precision: Array, recall: Array, errors: KeypointErrors) -> Group:
    own = (errors.person >= 0) & (people[np.maximum(errors.person, 0)] if len(people) else False)
    counts: Mapping[str, int] = counts_of(errors.kind[own]) if own.any() else dict.fromkeys(CLASSES, 0)
    return Group(name, int(people.sum()), mean_or_minus_one(precision), mean_or_minus_one(recall), counts)


def number_of_labeled(labeled: Array, joints: int) -> tuple[Array, list[str]]:
    """Return the published groups of the number of labeled joints, 1–5, 6–10, 11–15, 16–17 of 17, scaled to a set."""
    bounds = sorted({max(round(joints * share / 17), 1) for share in (5, 10, 15)} | {joints})
    starts = [1, *(bound + 1 for bound in bounds[:-1])]
    names = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, bounds, strict=True)]
    return np.searchsorted(bounds, labeled), names


def _overlaps(truth: GroundTruth) -> Array:
    """Return the number ``(G,)`` of other counted people of the image whose boxes overlap a person's."""
    count = np.searchsorted(truth.image, truth.image, "right") - np.searchsorted(truth.image, truth.image, "left")
    one = np.repeat(np.arange(len(truth.image)), count)
    start = np.searchsorted(truth.image, truth.image, "left")
    other = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
    overlap = (one != other) & ~truth.ignore[other] & (box_overlap(truth.box[one], truth.box[other]) >= OVERLAP)
    return np.bincount(one[overlap], minlength=len(truth.image))
