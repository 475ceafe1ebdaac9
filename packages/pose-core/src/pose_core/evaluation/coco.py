"""COCO keypoint AP and AR, equal to pycocotools to the last digits, for all images at once.

Every pair of a detection and an annotated person of one image gets its similarity (OKS) in one array. Detections then
take people in order of their score, all images, thresholds and size ranges together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.keypoint_files import Detections, GroundTruth, Source, read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS

Array = np.ndarray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 20
AREAS = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
AREA_OF_BOX = {"segm": None, "bbox": 1.0}
NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
EPSILON = np.spacing(1)
CHUNK = 1 << 13
"""Pairs whose similarities are computed at a time, to bound memory."""


def coco_keypoint_ap(
    ground_truth: Source,
    detections: Source,
    sigmas: Sequence[float] | None = None,
    iou_areas: str = "segm",
    *,
    max_detections: int = MAX_DETECTIONS,
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL; −1 where the ground truth has nobody of that size.

    ``ground_truth`` is a COCO mapping or the path of one, ``detections`` a list of results or its path. ``sigmas`` are
    the joint set's OKS constants, COCO's by default. ``iou_areas`` says which area OKS is relative to: ``"segm"`` the
    annotated one, ``"bbox"`` the box's. ``image_ids`` restricts the evaluation to some images. Several categories are
    evaluated one by one and averaged.

    Detections of equal score count in the order of image ids, then of the list; with different scores, the order of
    the list has no say. So results gathered from several processes give the number that one process gives.

    One difference from pycocotools is meant: there, whoever finds the person whose annotation id is 0 counts as wrong,
    because 0 also stands for nobody.
    """
    if iou_areas not in AREA_OF_BOX:
        raise ConfigError(f"iou_areas={iou_areas!r} is not one of {', '.join(AREA_OF_BOX)}")
    spread = np.array(SKELETONS["coco17"].sigmas if sigmas is None else sigmas, dtype=np.float64)
    truth = read_ground_truth(ground_truth, len(spread), area_of_box=AREA_OF_BOX[iou_areas])
    found = read_detections(detections, truth, max_detections=max_detections)
    if image_ids is not None:
        truth, found = restrict(truth, found, _mask_of(image_ids, truth.image_ids))
    precision, recall = evaluate(truth, found, spread, list(AREAS.values()))
    at = {"": slice(None), "50": slice(0, 1), "75": slice(5, 6)}
    result = {}
    for name, table in (("AP", precision), ("AR", recall)):
        for suffix, thresholds in at.items():
            result[name + suffix] = mean_or_minus_one(table[0][:, thresholds])
        result[f"{name}M"], result[f"{name}L"] = (mean_or_minus_one(table[row]) for row in (1, 2))
    return {name: result[name] for name in NAMES}


def restrict(truth: GroundTruth, found: Detections, images: Array) -> tuple[GroundTruth, Detections]:
    """People and detections of some images, by a mask ``(I,)``."""
    return truth.only(images[truth.image]), found.only(images[found.image])


def _mask_of(chosen: Sequence[int], image_ids: Array) -> Array:
    strange = np.setdiff1d(np.asarray(chosen, dtype=np.int64), image_ids)
    if len(strange):
        raise DataError(f"image_ids: {strange[:5].tolist()} are not among the ground truth's images")
    return np.isin(image_ids, np.asarray(chosen, dtype=np.int64))


def mean_or_minus_one(values: Array) -> float:
    """The mean of what is defined; −1 where nothing is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if len(defined) else -1.0


def evaluate(
    truth: GroundTruth, found: Detections, sigmas: Array, ranges: Sequence[tuple[float, float]]
) -> tuple[Array, Array]:
    """Precision ``(A, C, T, 101)`` and recall ``(A, C, T)`` by size range and category; −1 where nobody is of it."""
    if len(truth.categories) == 1:  # the usual case, without copies
        parts = [(truth, found)]
    else:
        parts = [(truth.only(truth.category == c), found.only(found.category == c)) for c in truth.categories]
    tables = [_evaluate_category(people, poses, sigmas, ranges) for people, poses in parts]
    precision, recall = zip(*tables, strict=True)
    return np.stack(precision, 1), np.stack(recall, 1)


def _evaluate_category(
    truth: GroundTruth, found: Detections, sigmas: Array, ranges: Sequence[tuple[float, float]]
) -> tuple[Array, Array]:
    pairs = pair_up(truth, found)
    similarity = oks_of_pairs(truth, found, pairs, sigmas)
    limits = np.array(ranges)
    hidden = truth.ignore | (truth.area < limits[:, :1]) | (truth.area > limits[:, 1:])  # (A, G)
    matched, covered = match(truth, found, pairs, similarity, hidden)
    outside = (found.area < limits[:, :1]) | (found.area > limits[:, 1:])  # (A, D)
    covered |= ~matched & outside[:, None]
    order = np.argsort(-found.score, kind="stable")
    matched, covered, persons = matched[..., order], covered[..., order], (~hidden).sum(1)
    return precision_recall(matched & ~covered, ~matched & ~covered, persons)


@dataclass(frozen=True)
class Pairs:
    """Every (detection, person) of one image, detections in order, people in order within each."""

    detection: Array
    person: Array


def pair_up(truth: GroundTruth, found: Detections) -> Pairs:
    """All pairs that share an image."""
    start = np.searchsorted(truth.image, found.image, "left")
    count = np.searchsorted(truth.image, found.image, "right") - start
    detection = np.repeat(np.arange(len(found.image)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return Pairs(detection, np.repeat(start, count) + place)


def oks_of_pairs(truth: GroundTruth, found: Detections, pairs: Pairs, sigmas: Array) -> Array:
    """Similarity ``(P,)`` of each pair.

    Mean over labeled joints of exp(−d² / (2·area·(2σ)²)). Where a person has no labeled joint, d is how far a joint
    lies outside the person's box, grown to three times its size.
    """
    variances = (2 * sigmas) ** 2
    # Constant per person: the exponent's denominator, labeled joints and their number.
    scale = 1 / (2 * (truth.area[:, None] + EPSILON) * variances)
    labeled = truth.joints[..., 2] > 0
    number = labeled.sum(1)
    x0, y0, w, h = truth.box.T
    result = np.empty(len(pairs.person))
    for first in range(0, len(result), CHUNK):
        d, g = pairs.detection[first : first + CHUNK], pairs.person[first : first + CHUNK]
        apart = found.joints[d] - truth.joints[g, :, :2]
        blank = number[g] == 0
        if blank.any():
            gb, points = g[blank], found.joints[d[blank]]
            low = np.stack([x0[gb] - w[gb], y0[gb] - h[gb]], 1)[:, None]
            high = np.stack([x0[gb] + 2 * w[gb], y0[gb] + 2 * h[gb]], 1)[:, None]
            apart[blank] = np.maximum(0, low - points) + np.maximum(0, points - high)
        close = np.exp(-(apart[..., 0] ** 2 + apart[..., 1] ** 2) * scale[g])
        used = labeled[g] | blank[:, None]
        result[first : first + CHUNK] = (close * used).sum(1) / used.sum(1)
    return result


def match(truth: GroundTruth, found: Detections, pairs: Pairs, similarity: Array, hidden: Array) -> tuple[Array, Array]:
    """Whom each detection takes: ``matched`` and ``covered`` (matched somebody who does not count), ``(A, T, D)``.

    A detection takes the most similar free person above the threshold; the last of equals; one who counts before one
    who does not; a crowd can be taken again and again.
    """
    ranges, thresholds = len(hidden), np.minimum(THRESHOLDS, 1 - 1e-10)
    matched = np.zeros((ranges, len(thresholds), len(found.image)), bool)
    covered = np.zeros_like(matched)
    useful = similarity >= thresholds[0]
    detection, person, value = pairs.detection[useful], pairs.person[useful], similarity[useful]
    if not len(value):
        return matched, covered
    taken = np.zeros((ranges, len(thresholds), len(truth.image)), bool)
    rank = np.arange(len(found.image)) - np.searchsorted(found.image, found.image)
    # A stable sort by rank makes waves: the best detection of every image, then the second of every image, …
    waves = np.argsort(rank[detection], kind="stable")
    ends = np.searchsorted(rank[detection][waves], np.arange(rank.max() + 2))
    for begin, end in pairwise(ends.tolist()):
        wave = waves[begin:end]
        if not len(wave):
            continue
        d, g, v = detection[wave], person[wave], value[wave]
        starts = np.flatnonzero(np.r_[True, d[1:] != d[:-1]])
        segment = np.cumsum(np.r_[False, d[1:] != d[:-1]])
        free = (~taken[..., g] | truth.crowd[g]) & (v >= thresholds[:, None])  # (A, T, P)
        counts = ~hidden[:, None, g]
        # One who counts beats one who does not, whatever the similarity (at most 1).
        worth = np.where(free, v + 2 * counts, -1.0)
        best = np.maximum.reduceat(worth, starts, axis=-1)
        is_best = free & (worth == best[..., segment])
        # The last of equals: the largest place among the best.
        place = np.maximum.reduceat(np.where(is_best, np.arange(len(g)), -1), starts, axis=-1)
        has = place >= 0
        chosen = np.where(has, g[place], 0)
        matched[..., d[starts]] = has
        a, t, _ = np.nonzero(has)
        covered[..., d[starts]] = has & np.take_along_axis(
            np.broadcast_to(hidden[:, None], (ranges, len(thresholds), hidden.shape[1])), chosen, 2
        )
        taken[a, t, chosen[has]] = True
    return matched, covered


def precision_recall(true: Array, false: Array, persons: Array) -> tuple[Array, Array]:
    """Interpolated precision ``(A, T, 101)`` and final recall ``(A, T)`` from hits in order of falling score."""
    ranges, thresholds, count = true.shape
    precision = np.full((ranges, thresholds, len(RECALLS)), -1.0)
    recall = np.full((ranges, thresholds), -1.0)
    for a in np.flatnonzero(persons):
        hits, misses = np.cumsum(true[a], 1, dtype=np.float64), np.cumsum(false[a], 1, dtype=np.float64)
        reached = hits / persons[a]
        exact = hits / (misses + hits + EPSILON)
        best = np.maximum.accumulate(exact[:, ::-1], 1)[:, ::-1]
        recall[a] = reached[:, -1] if count else 0
        for t in range(thresholds):
            at = np.searchsorted(reached[t], RECALLS, "left")
            precision[a, t] = np.where(at < count, best[t][np.minimum(at, count - 1)], 0) if count else 0
    return precision, recall
