"""What a network's predictions say about the annotations of an image: who was found, and which joints are far off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_core.data.coco_file import AREA_OF_BOX
from pose_core.geometry import box_overlap
from pose_core.ops.similarity import oks
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person, Poses
from pose_core.topdown.detectors import annotated_box

Array = np.ndarray

PAIRED = 0.3
"""A prediction belongs to an annotated person if their similarity, or the overlap of their boxes, is at least this."""
FAR = 0.5
"""A joint is far from its annotation if its similarity is below this: a miss, as error analysis defines it."""
SEEN = 0.2
"""Joints of people without annotation count from this score."""
NAMED = 3
"""Joints that a reason names."""


@dataclass(frozen=True)
class PersonFinding:
    """One annotated person beside its prediction; without one, ``prediction`` is None and ``similarity`` 0."""

    prediction: int | None
    similarity: float
    """OKS over the labeled joints."""
    swapped: float
    """OKS if left and right of the annotation are exchanged."""
    far: tuple[str, ...]
    """Labeled joints that are far from the prediction."""


@dataclass(frozen=True)
class ImageFinding:
    """One image, what was predicted in it, and how that compares; measures without people to compare are NaN."""

    record: ImageRecord
    size: tuple[int, int]
    """Width and height of the image."""
    poses: Poses
    people: tuple[PersonFinding, ...]
    """The annotated people that have labeled joints, in order."""
    pairs: tuple[tuple[int, int], ...]
    """The annotation id of each person that was found, labeled or not, and its prediction."""
    extra: tuple[int, ...]
    """Predictions without an annotated person."""
    views: tuple[float, ...]
    """OKS of each prediction with the other views' predictions, the mean of both."""
    error: float = math.nan
    score: float = math.nan
    disagreement: float = math.nan
    rank: float = math.nan
    """Mean of the ranks by which images are ordered, from 0."""

    def reasons(self) -> list[str]:
        """Return what may be wrong, in words; the first is the most telling."""
        found: list[tuple[float, str]] = []
        for number, person in enumerate(self.people, 1):
            if person.prediction is None:
                found.append((1.0, f"person {number} was not found by the network"))
            elif person.swapped > max(person.similarity + 0.2, 0.4):
                values = f"OKS {person.similarity:.2f}, swapped {person.swapped:.2f}"
                found.append((1.1, f"person {number}: left and right seem swapped ({values})"))
            elif person.far:
                names = ", ".join(person.far[:NAMED])
                more = f" and {len(person.far) - NAMED} more" if len(person.far) > NAMED else ""
                found.append(
                    (1 - person.similarity, f"person {number}: {names}{more} far off (OKS {person.similarity:.2f})")
                )
        if self.extra:
            best = max(float(self.poses.pose_scores[number]) for number in self.extra)
            people = counted(len(self.extra), "person", "people")
            found.append((0.9, f"{people} found without annotation (score {best:.2f})"))
        if self.disagreement >= FAR:
            found.append((self.disagreement / 2, f"the views disagree (OKS {1 - self.disagreement:.2f})"))
        if not found and math.isfinite(self.score):
            found.append((0.0, f"scores {self.score:.2f}, views agree to OKS {1 - self.disagreement:.2f}"))
        if not len(self.poses) and not self.people:
            found.append((0.0, "nobody annotated, nobody found"))
        return [text for _, text in sorted(found, key=lambda each: -each[0])]


def compare(record: ImageRecord, size: tuple[int, int], views: Sequence[Poses]) -> ImageFinding:
    """Compare the annotations of an image with the poses of its three views."""
    poses, *others = views
    skeleton = poses.skeleton
    people = [person for person in record.persons if not person.is_crowd]
    areas = np.array([_area(person) for person in people])
    partner = _pairs(people, areas, poses, skeleton)
    findings = []
    for person, area, match in zip(people, areas.tolist(), partner, strict=True):
        if person.num_labeled:
            findings.append(_person_finding(person, area, poses, match, skeleton))
    by_prediction = {match: row for row, match in enumerate(partner) if match is not None}
    crowds = [np.array(annotated_box(person)) for person in record.persons if person.is_crowd]
    extra = tuple(
        number
        for number in range(len(poses))
        if number not in by_prediction and not any(_lies_in(_extent(poses, number), crowd) for crowd in crowds)
    )
    labeled: list[tuple[Array, float]] = []
    for number in range(len(poses)):
        row = by_prediction.get(number)
        if row is not None and people[row].num_labeled:
            labeled.append((people[row].joints[:, 2] > 0, areas[row]))
        else:
            area = AREA_OF_BOX * float(np.prod(_extent(poses, number)[2:]))
            labeled.append((_seen(poses, number), max(area, 1.0)))
    agreement = tuple(
        float(np.mean([_best(poses.keypoints[number], other, *labeled[number], skeleton) for other in others]))
        for number in range(len(poses))
    )
    pairs = tuple((people[row].annotation_id, match) for match, row in by_prediction.items())
    return ImageFinding(record, size, poses, tuple(findings), pairs, extra, agreement)


def _person_finding(person: Person, area: float, poses: Poses, match: int | None, skeleton: Skeleton) -> PersonFinding:
    if match is None:
        return PersonFinding(None, 0.0, 0.0, ())
    labeled, sigmas = person.joints[:, 2] > 0, np.array(skeleton.sigmas)
    points, truth = poses.keypoints[match], person.joints[:, :2].astype(np.float64)
    close = np.exp(-((points - truth) ** 2).sum(1) / (2 * sigmas) ** 2 / max(area, 1) / 2)
    far = sorted(np.flatnonzero(labeled & (close < FAR)).tolist(), key=lambda joint: close[joint])
    return PersonFinding(
        match,
        float(close[labeled].mean()),
        _similarity(points, *_mirrored(person, skeleton), area, sigmas),
        tuple(skeleton.joints[joint] for joint in far),
    )


def _mirrored(person: Person, skeleton: Skeleton) -> tuple[Array, Array]:
    """Return a person's joints ``(K, 2)`` and labels ``(K,)`` with left and right exchanged."""
    joints = person.joints[skeleton.flip_order]
    return joints[:, :2].astype(np.float64), joints[:, 2] > 0


def _similarity(points: Array, truth: Array, used: Array, area: float, sigmas: Array) -> float:
    """Return the OKS of two poses ``(K, 2)`` over the joints ``used``."""
    size = np.array([area])
    return float(oks(points[None, used], truth[None, used], size, size, sigmas[used]).item())


def _best(points: Array, other: Poses, used: Array, area: float, skeleton: Skeleton) -> float:
    """Return the OKS of a pose with the most similar one of another view; 0 if that has none."""
    sigmas = np.array(skeleton.sigmas)
    return max((_similarity(points, each, used, area, sigmas) for each in other.keypoints), default=0.0)


def _pairs(people: Sequence[Person], areas: Array, poses: Poses, skeleton: Skeleton) -> list[int | None]:
    """Return the prediction of each person, the most similar pairs first; None for those without one.

    Similar are poses by their OKS, also with left and right exchanged, or by the overlap of their boxes: a person whose
    joints are annotated wrongly still has its prediction.
    """
    if not people or not len(poses):
        return [None] * len(people)
    sigmas = np.array(skeleton.sigmas)
    boxes = (
        poses.boxes if poses.boxes is not None else np.array([_extent(poses, number) for number in range(len(poses))])
    )
    value = np.zeros((len(people), len(poses)))
    for row, person in enumerate(people):
        labeled = person.joints[:, 2] > 0
        overlap = box_overlap(np.array(annotated_box(person)), boxes)
        for column, points in enumerate(poses.keypoints):
            value[row, column] = overlap[column]
            if labeled.any():
                straight = _similarity(points, person.joints[:, :2], labeled, areas[row], sigmas)
                exchanged = _similarity(points, *_mirrored(person, skeleton), areas[row], sigmas)
                value[row, column] += max(straight, exchanged)
    partner: list[int | None] = [None] * len(people)
    for flat in np.argsort(-value, axis=None, kind="stable").tolist():
        row, column = divmod(flat, len(poses))
        if value[row, column] >= PAIRED and partner[row] is None and column not in partner:
            partner[row] = column
    return partner


def _seen(poses: Poses, number: int) -> Array:
    """Return which joints ``(K,)`` of a pose score enough to count; all if none does."""
    seen: Array = poses.scores[number] >= SEEN
    return seen if seen.any() else np.ones_like(seen)


def _extent(poses: Poses, number: int) -> Array:
    """Return the box x, y, w, h around the joints of a pose that count."""
    points = poses.keypoints[number][_seen(poses, number)]
    return np.concatenate([points.min(0), np.ptp(points, axis=0)])


def _area(person: Person) -> float:
    """Return a person's area, the usual fraction of its box's if it has none."""
    _, _, width, height = annotated_box(person)
    return person.area if person.area > 0 else max(AREA_OF_BOX * width * height, 1.0)


def _lies_in(box: Array, other: Array) -> bool:
    """Return whether more than half of a box is in another one."""
    sides = np.minimum(box[:2] + box[2:], other[:2] + other[2:]) - np.maximum(box[:2], other[:2])
    return bool(np.prod(np.clip(sides, 0, None)) > np.prod(box[2:]) / 2)
