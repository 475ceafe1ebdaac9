"""COCO keypoint AP and AR, vectorized over images and equal to pycocotools to the last digits.

The similarities (OKS) of all pairs of a detection and an annotated person of the same image are computed in one array.
Detections are then matched to people in order of score, for all images, thresholds and size ranges together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
"""The number of pairs whose similarities are computed at a time, to bound memory."""


def coco_keypoint_ap(
    ground_truth: Source | GroundTruth,
    detections: Source,
    sigmas: Sequence[float] | None = None,
    iou_areas: str = "segm",
    *,
    max_detections: int = MAX_DETECTIONS,
    image_ids: Sequence[int] | None = None,
) -> dict[str, float]:
    """Return AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL; −1 if the ground truth has no person of that size.

    ``ground_truth`` is a COCO mapping or the path of one, ``detections`` a list of results or its path. ``sigmas`` are
    the joint set's OKS constants, COCO's by default. ``iou_areas`` selects the area in OKS: ``"segm"`` the annotated
    one, ``"bbox"`` the box's; a `GroundTruth`, which has been read already, has its areas. ``image_ids`` restricts the
    evaluation to some images. Several categories are evaluated one by one and averaged.

    Detections of equal score are ordered by image id, then by position in the list; otherwise the order of the list
    does not matter. So results gathered from several processes give the same numbers as those of one process.

    One difference from pycocotools is intentional: there, a detection matched to the person with annotation id 0
    counts as a false positive, because 0 also marks "not matched".
    """
    if iou_areas not in AREA_OF_BOX:
        raise ConfigError(f"iou_areas={iou_areas!r} is not one of {', '.join(AREA_OF_BOX)}")
    spread = np.array(SKELETONS["coco17"].sigmas if sigmas is None else sigmas, dtype=np.float64)
    if isinstance(ground_truth, GroundTruth):
        truth = ground_truth
    else:
        skeleton = SKELETONS["coco17"] if sigmas is None else None
        truth = read_ground_truth(ground_truth, len(spread), area_of_box=AREA_OF_BOX[iou_areas], skeleton=skeleton)
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
    """Return the people and detections of some images, selected by a mask ``(I,)``."""
    return truth.only(images[truth.image]), found.only(images[found.image])


def _mask_of(chosen: Sequence[int], image_ids: Array) -> Array:
    unknown = np.setdiff1d(np.asarray(chosen, dtype=np.int64), image_ids)
    if len(unknown):
        raise DataError(f"image_ids: {unknown[:5].tolist()} are not among the ground truth's images")
    return np.isin(image_ids, np.asarray(chosen, dtype=np.int64))


def mean_or_minus_one(values: Array) -> float:
    """Return the mean of the defined values, those above −1; −1 if there are none."""
    defined = values[values > -1]
    return float(np.mean(defined)) if len(defined) else -1.0


def evaluate(
    truth: GroundTruth, found: Detections, sigmas: Array, ranges: Sequence[tuple[float, float]]
) -> tuple[Array, Array]:
    """Return precision ``(A, C, T, 101)`` and recall ``(A, C, T)`` by size range and category; −1 without people."""
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
    person = match(truth, found, pairs, similarity, hidden)
    matched, covered = person >= 0, hidden_matches(person, hidden)
    outside = (found.area < limits[:, :1]) | (found.area > limits[:, 1:])  # (A, D)
    covered |= ~matched & outside[:, None]
    order = np.argsort(-found.score, kind="stable")
    matched, covered, persons = matched[..., order], covered[..., order], (~hidden).sum(1)
    return precision_recall(matched & ~covered, ~matched & ~covered, persons)


@dataclass(frozen=True)
class Pairs:
    """Index pairs ``(P,)`` of detections and people of the same image, sorted by detection, then by person."""

    detection: Array
    person: Array


def pair_up(truth: GroundTruth, found: Detections) -> Pairs:
    """Return all pairs of a detection and a person of the same image."""
    start = np.searchsorted(truth.image, found.image, "left")
    count = np.searchsorted(truth.image, found.image, "right") - start
    detection = np.repeat(np.arange(len(found.image)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return Pairs(detection, np.repeat(start, count) + place)


def oks_of_pairs(truth: GroundTruth, found: Detections, pairs: Pairs, sigmas: Array) -> Array:
    """Compute the similarity ``(P,)`` of each pair.

    It is the mean over labeled joints of exp(−d² / (2·area·(2σ)²)). If a person has no labeled joint, d is the
    distance of each joint from the person's box, enlarged to three times its size.
    """
    similar = joint_similarities(truth, sigmas)
    result = np.empty(len(pairs.person))
    for first in range(0, len(result), CHUNK):
        d, g = pairs.detection[first : first + CHUNK], pairs.person[first : first + CHUNK]
        close, used = similar(found.joints[d], g)
        result[first : first + CHUNK] = (close * used).sum(1) / used.sum(1)
    return result


def joint_similarities(truth: GroundTruth, sigmas: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    """Return a function from poses ``(P, K, 2)`` and rows of people ``(P,)`` to joints' similarities ``(P, K)``.

    It also returns which joints count, ``(P, K)`` bool. See `oks_of_pairs`.
    """
    # Constant per person: the exponent's denominator, labeled joints and whether there are any.
    scale = 1 / (2 * (truth.area[:, None] + EPSILON) * (2 * sigmas) ** 2)
    labeled = truth.joints[..., 2] > 0
    is_blank: Array = ~np.any(labeled, axis=1)
    x0, y0, w, h = truth.box.T

    def similar(points: Array, g: Array) -> tuple[Array, Array]:
        apart = points - truth.joints[g, :, :2]
        blank = is_blank[g]
        if blank.any():
            gb = g[blank]
            low = np.stack([x0[gb] - w[gb], y0[gb] - h[gb]], 1)[:, None]
            high = np.stack([x0[gb] + 2 * w[gb], y0[gb] + 2 * h[gb]], 1)[:, None]
            apart[blank] = np.maximum(0, low - points[blank]) + np.maximum(0, points[blank] - high)
        close = np.exp(-(apart[..., 0] ** 2 + apart[..., 1] ** 2) * scale[g])
        return close, labeled[g] | blank[:, None]

    return similar


def match(
    truth: GroundTruth,
    found: Detections,
    pairs: Pairs,
    similarity: Array,
    hidden: Array,
    thresholds: Array = THRESHOLDS,
) -> Array:
    """Match detections to people; return the row of the person ``(A, T, D)``, −1 for none.

    ``similarity`` of the pairs is ``(P,)``, or ``(A, P)`` if it differs; ``hidden`` ``(A, G)`` marks ignored people. A
    detection takes the most similar unmatched person above the threshold, and the last among equals. People that count
    are preferred to ignored ones. A crowd can be matched repeatedly.
    """
    ranges, limits = len(hidden), np.minimum(thresholds, 1 - 1e-10)
    person_of = np.full((ranges, len(limits), len(found.image)), -1, np.int32)
    useful = np.atleast_2d(similarity).max(0, initial=-1.0) >= limits[0]
    detection, person, value = pairs.detection[useful], pairs.person[useful], np.atleast_2d(similarity)[:, None, useful]
    if not len(detection):
        return person_of
    taken = np.zeros((ranges, len(limits), len(truth.image)), bool)
    rank = np.arange(len(found.image)) - np.searchsorted(found.image, found.image)
    # A stable sort by rank gives waves: the best detection of every image, then the second of every image, …
    waves = np.argsort(rank[detection], kind="stable")
    ends = np.searchsorted(rank[detection][waves], np.arange(rank.max() + 2))
    for begin, end in pairwise(ends.tolist()):
        wave = waves[begin:end]
        if not len(wave):
            continue
        d, g, v = detection[wave], person[wave], value[..., wave]
        starts = np.flatnonzero(np.r_[True, d[1:] != d[:-1]])
        segment = np.cumsum(np.r_[False, d[1:] != d[:-1]])
        free = (~taken[..., g] | truth.crowd[g]) & (v >= limits[:, None])  # (A, T, P)
        counts = ~hidden[:, None, g]
        # A person who counts is preferred to an ignored one, regardless of the similarity (at most 1).
        worth = np.where(free, v + 2 * counts, -1.0)
        best = np.maximum.reduceat(worth, starts, axis=-1)
        is_best = free & (worth == best[..., segment])
        # Of equals the last: the largest index among the best.
        place = np.maximum.reduceat(np.where(is_best, np.arange(len(g)), -1), starts, axis=-1)
        has = place >= 0
        chosen = g[place]
        person_of[..., d[starts]] = np.where(has, chosen, -1)
        a, t, _ = np.nonzero(has)
        taken[a, t, chosen[has]] = True
    return person_of


def hidden_matches(person: Array, hidden: Array) -> Array:
    """Return which detections are matched to an ignored person, ``(A, T, D)`` bool, from what `match` returns."""
    if not hidden.shape[1]:
        return np.zeros(person.shape, bool)
    of_thresholds = np.broadcast_to(hidden[:, None], (*person.shape[:2], hidden.shape[1]))
    return (person >= 0) & np.take_along_axis(of_thresholds, np.maximum(person, 0), 2)


def precision_recall(true: Array, false: Array, persons: Array) -> tuple[Array, Array]:
    """Return interpolated precision ``(A, T, 101)`` and final recall ``(A, T)``; −1 without people.

    ``true`` and ``false`` ``(A, T, D)`` mark true and false positives in order of decreasing score; ``persons`` is
    their number, ``(A,)`` or ``(A, T)``.
    """
    ranges, thresholds, _ = true.shape
    precision = np.full((ranges, thresholds, len(RECALLS)), -1.0)
    recall = np.full((ranges, thresholds), -1.0)
    number = np.broadcast_to(persons if persons.ndim == 2 else persons[:, None], (ranges, thresholds))
    for a in np.flatnonzero(number.any(1)):
        counted = np.cumsum(true[a] | false[a], 1, dtype=np.int32)
        for t in np.flatnonzero(number[a]):
            # Precision falls between two true positives: only at them can it be the highest from there on.
            places = np.flatnonzero(true[a, t])
            hits = np.arange(1, len(places) + 1)
            exact = hits / (counted[t, places] + EPSILON)
            best = np.maximum.accumulate(exact[::-1])[::-1]
            at = np.searchsorted(hits / number[a, t], RECALLS, "left")
            precision[a, t] = np.append(best, 0.0)[at]
            recall[a, t] = len(places) / number[a, t]
    return precision, recall
