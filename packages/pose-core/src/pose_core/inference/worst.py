"""The images whose correction would pay most, as a trained network sees them.

The network predicts three views of each image: the image, its mirror image, and a smaller one. An image ranks by

- ``error``: the mean over its people of 1 - OKS between annotation and prediction. A prediction without an annotated
  person that scores as well as others do counts 1;
- ``score``: the mean score of its people, the lowest first;
- ``disagreement``: the mean over its people of 1 - OKS between the prediction and those of the other two views.

A person who is annotated, but not found, has an error of 1, a score of 0 and a disagreement of 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from tqdm import tqdm

from pose_core.data.coco_file import AREA_OF_BOX
from pose_core.data.images import open_image
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import DataError
from pose_core.geometry import box_overlap
from pose_core.ops.similarity import oks
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person, Poses
from pose_core.topdown.detectors import Detector, annotated_box
from pose_core.verbosity import no_bar

_log = logging.getLogger(__name__)

Array = np.ndarray
Criterion = Literal["error", "score", "disagreement"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)

SMALLER = 1.25
"""The canvas of the smaller view is so many times as wide and high as the image, which lies in its middle."""
PAIRED = 0.3
"""A prediction belongs to an annotated person if their similarity, or the overlap of their boxes, is at least this."""
FAR = 0.5
"""A joint is far from its annotation if its similarity is below this: a miss, as error analysis defines it."""
SEEN = 0.2
"""Joints of people without annotation count from this score."""
QUANTILE = 0.25
"""A person without annotation counts if it scores more than this share of the people with one."""
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


def find_worst(
    predictor: PosePredictor,
    records: Sequence[ImageRecord],
    *,
    by: Sequence[Criterion] = CRITERIA,
    detector: Detector | None = None,
    skips: bool = False,
) -> list[ImageFinding]:
    """Return the images in the order in which correcting them would pay, the worst first.

    They are ordered by the mean of their ranks by each of ``by``; equal ones stay in the order of ``records``. The
    predictor must not average over mirrored images itself, or the views could not disagree. A top-down network looks
    into the annotated boxes, and into those of ``detector`` that overlap none of them. Images that do not decode raise
    a DataError, or with ``skips`` are left out.
    """
    findings = [
        _compare(record, size, views) for record, size, views in _predicted(predictor, records, detector, skips)
    ]
    limit = _usual_score(findings)
    return _ranked([_measured(finding, limit) for finding in findings], by)


def are_annotated(records: Sequence[ImageRecord]) -> bool:
    """Return whether any image has people, so that there are annotations to compare with."""
    return any(record.persons for record in records)


def _predicted(
    predictor: PosePredictor, records: Sequence[ImageRecord], detector: Detector | None, skips: bool
) -> Iterator[tuple[ImageRecord, tuple[int, int], list[Poses]]]:
    """Yield each image with its size and the poses of its three views, in the image's own pixels."""
    flip = predictor.skeleton.flip_order
    views: list[Poses] = []
    with tqdm(total=len(records), desc="predicting", unit="image", disable=no_bar()) as bar:
        for (number, size, view), poses in predictor.predict_stream(_views(predictor, records, detector, skips)):
            width, height = size
            points, scores = poses.keypoints.astype(np.float64), poses.scores
            if view == "mirrored":
                points = points[:, flip] * [-1, 1] + [width - 1, 0]
                scores = scores[:, flip]
            elif view == "smaller":
                points = points - _margin(width, height)
            views.append(replace(poses, keypoints=points, scores=scores))
            if len(views) == 3:
                yield records[number], size, views
                views = []
                bar.update()


def _views(
    predictor: PosePredictor, records: Sequence[ImageRecord], detector: Detector | None, skips: bool
) -> Iterator[DetectedImage[tuple[int, tuple[int, int], str]]]:
    for number, record in enumerate(records):
        try:
            image = open_image(record.source, "rgb")
        except DataError as error:
            if not skips:
                raise
            _log.warning("skipped: %s", error)
            continue
        height, width = image.shape[:2]
        boxes = _boxes(record, image, detector) if predictor.needs_boxes else np.zeros((0, 4))
        ones = np.ones(len(boxes))
        yield DetectedImage((number, (width, height), "plain"), image, boxes, ones)
        mirrored = boxes.copy()
        mirrored[:, 0] = width - 1 - boxes[:, 0] - boxes[:, 2]
        yield DetectedImage((number, (width, height), "mirrored"), np.ascontiguousarray(image[:, ::-1]), mirrored, ones)
        left, top = _margin(width, height).tolist()
        canvas = cv2.copyMakeBorder(image, top, top, left, left, cv2.BORDER_CONSTANT)
        enlarged = boxes + np.array([left, top, 0, 0])
        enlarged[:, :2] -= (SMALLER - 1) / 2 * boxes[:, 2:]
        enlarged[:, 2:] *= SMALLER
        yield DetectedImage((number, (width, height), "smaller"), canvas, enlarged, ones)


def _margin(width: int, height: int) -> Array:
    """Return the border ``(2,)`` of the smaller view, in pixels on each side."""
    return np.array([round((SMALLER - 1) / 2 * width), round((SMALLER - 1) / 2 * height)])


def _boxes(record: ImageRecord, image: Array, detector: Detector | None) -> Array:
    """Return the boxes ``(N, 4)`` of an image's annotated people, then those that only the detector finds."""
    given = [annotated_box(person) for person in record.persons if not person.is_crowd]
    boxes = np.array([box for box in given if box[2] > 0 and box[3] > 0], np.float64).reshape(-1, 4)
    if detector is None:
        return boxes
    found, _ = detector(image, Path(record.source))
    new = [box for box in np.asarray(found, np.float64).reshape(-1, 4) if not (box_overlap(box, boxes) >= PAIRED).any()]
    return np.concatenate([boxes, np.array(new).reshape(-1, 4)])


def _compare(record: ImageRecord, size: tuple[int, int], views: Sequence[Poses]) -> ImageFinding:
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


def _usual_score(findings: Iterable[ImageFinding]) -> float:
    """Return the score above which a person without annotation is taken seriously."""
    scores = [
        float(finding.poses.pose_scores[person.prediction])
        for finding in findings
        for person in finding.people
        if person.prediction is not None
    ]
    return float(np.quantile(scores, QUANTILE)) if scores else -math.inf


def _measured(finding: ImageFinding, limit: float) -> ImageFinding:
    """Return a finding with its measures, without unannotated people who score less than ``limit``."""
    extra = tuple(number for number in finding.extra if finding.poses.pose_scores[number] > limit)
    found = [person.prediction for person in finding.people if person.prediction is not None] + list(extra)
    missed = sum(person.prediction is None for person in finding.people)
    return replace(
        finding,
        extra=extra,
        error=_mean([1 - person.similarity for person in finding.people] + [1.0] * len(extra)),
        score=_mean([float(finding.poses.pose_scores[number]) for number in found] + [0.0] * missed),
        disagreement=_mean([1 - finding.views[number] for number in found] + [1.0] * missed),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _ranked(findings: Sequence[ImageFinding], by: Sequence[Criterion]) -> list[ImageFinding]:
    """Return the findings by rising mean of their ranks; an image that lacks a measure is the last by it."""
    total = np.zeros(len(findings))
    for criterion in by:
        sign = -1 if criterion == "score" else 1
        values = np.array([sign * getattr(finding, criterion) for finding in findings], np.float64)
        filled = np.where(np.isnan(values), -np.inf, values)
        total += np.searchsorted(np.sort(-filled), -filled)
    order = np.argsort(total, kind="stable").tolist()
    return [replace(findings[number], rank=float(total[number] / len(by))) for number in order]
