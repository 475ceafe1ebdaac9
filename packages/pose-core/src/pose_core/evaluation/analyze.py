"""The error analysis of detections that are scored by OKS: what is wrong, where, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pose_core.evaluation.analysis import CLASSES, Analysis, Cost, Curve, ImageErrors, ScoreBin
from pose_core.evaluation.coco import (
    MAX_DETECTIONS,
    RECALLS,
    THRESHOLDS,
    Pairs,
    hidden_matches,
    match,
    mean_or_minus_one,
    oks_of_pairs,
    pair_up,
    precision_recall,
)
from pose_core.evaluation.keypoint_errors import (
    KINDS,
    KeypointErrors,
    corrected,
    counts_of,
    keypoint_errors,
    oks_after,
)
from pose_core.evaluation.keypoint_files import Detections, GroundTruth, Source, read_detections, read_ground_truth
from pose_core.evaluation.oks_groups import by_group, by_joint, by_size
from pose_core.evaluation.optimal_scores import optimal_scores, wrong_choices
from pose_core.skeleton import SKELETONS, Skeleton

Array = np.ndarray

MEANINGS = {
    "miss": "the keypoint is near no annotated place",
    "swap": "the keypoint is on another person",
    "inversion": "left and right are exchanged",
    "jitter": "the keypoint is near its place, but not at it",
    "score": "scores do not order detections by OKS; counted are people whose best detection is not scored highest",
    "duplicate": "the detection is of a person whom another detection matches",
    "spurious": "the detection is near no annotated person",
    "missed": "no detection is near the person",
}
DRAWN = (0, 5, 9)
"""The OKS thresholds with a precision-recall curve: 0.5, 0.75 and 0.95."""
BINS = 10
NOTES = (
    "Keypoints are classified on detections that match a person at OKS 0.1 or more; the most similar annotated place "
    "decides. Similarities use 2σ, as the COCO evaluation does.",
    "A gain is the AP after correcting one kind of error alone, minus AP. Gains are not additive: an error may hide "
    "another. The last column corrects each kind and all those above it.",
    "Scores, duplicates and spurious detections are counted at OKS 0.5, as are missed people; their gains are computed "
    "at each threshold.",
)


def analyze(
    ground_truth: Source | GroundTruth,
    detections: Source,
    skeleton: Skeleton = SKELETONS["coco17"],
    *,
    area_of_box: float | None = None,
) -> Analysis:
    """Return what is wrong with detections, by the definitions of Ronchi and Perona (ICCV 2017).

    ``ground_truth`` is a COCO mapping or the path of one, ``detections`` a list of results or its path; mirror pairs
    and OKS constants are those of ``skeleton``. ``area_of_box`` is as in `read_ground_truth`. Several categories are
    analyzed together, so that AP is that of all people, not a mean over categories.
    """
    if isinstance(ground_truth, GroundTruth):
        truth = ground_truth
    else:
        truth = read_ground_truth(ground_truth, skeleton.num_joints, area_of_box=area_of_box, skeleton=skeleton)
    found = read_detections(detections, truth, max_detections=MAX_DETECTIONS)
    image_ids = truth.image_ids
    truth, found = _as_one_category(truth, found)
    scored = _Scored(truth, found, skeleton)
    errors = keypoint_errors(truth, found, scored.pairs, scored.similarity, skeleton)
    costs, precision = _costs(scored, errors, skeleton)
    categories = max(len(truth.image_ids) // max(len(image_ids), 1), 1)
    return Analysis(
        metric="AP",
        score=mean_or_minus_one(precision),
        curves=tuple(
            Curve(f"OKS {THRESHOLDS[t]:.2f}", tuple(RECALLS.tolist()), tuple(precision[t].tolist()))
            for t in DRAWN
            if precision[t, 0] > -1
        ),
        costs=costs,
        joints=by_joint(truth, found, errors, skeleton),
        groups={
            "size": by_size(truth, found, scored.similarity, scored.pairs, errors),
            **by_group(truth, found, scored.person[0], scored.nearest, errors, categories),
        },
        calibration=_calibration(found.score, scored.best, ~scored.covered[0, 0]),
        images=_images(scored, errors, image_ids),
        notes=NOTES if categories == 1 else (*NOTES, f"AP is that of {categories} categories together."),
    )


class _Scored:
    """Detections, matched to people at each threshold without limits of size."""

    def __init__(self, truth: GroundTruth, found: Detections, skeleton: Skeleton) -> None:
        self.truth, self.found = truth, found
        self.sigmas = np.array(skeleton.sigmas)
        self.pairs = pair_up(truth, found)
        self.similarity = oks_of_pairs(truth, found, self.pairs, self.sigmas)
        self.hidden = truth.ignore[None]
        self.person = match(truth, found, self.pairs, self.similarity, self.hidden)
        """``(1, T, D)``."""
        self.covered = hidden_matches(self.person, self.hidden)
        self.nearest, self.best = nearest_people(truth, self.pairs, self.similarity, len(found.image))


def nearest_people(truth: GroundTruth, pairs: Pairs, similarity: Array, detections: int) -> tuple[Array, Array]:
    """Return the counted person most similar to each detection ``(D,)``, −1 for none, and their OKS, 0 for none."""
    nearest, best = np.full(detections, -1), np.zeros(detections)
    counted = ~truth.ignore[pairs.person]
    detection, person, value = pairs.detection[counted], pairs.person[counted], similarity[counted]
    starts = np.flatnonzero(np.r_[True, detection[1:] != detection[:-1]][: len(detection)])
    if len(starts):
        best[detection[starts]] = np.maximum.reduceat(value, starts)
        is_best = value == best[detection]
        nearest[detection[is_best]] = person[is_best]
    return nearest, best


class _Judged(NamedTuple):
    """Matches of corrected detections in one order: ``matched``, ``covered`` ``(T, D)``, ``best`` OKS ``(D,)``."""

    matched: Array
    covered: Array
    best: Array
    order: Array
    """Detections by falling score."""

    def precision(self, persons: Array, dropped: Array | None = None) -> Array:
        """Return precision ``(T, 101)`` with ``persons`` ``(T,)``, without the false positives ``dropped`` (T, D)."""
        false = ~self.matched if dropped is None else ~self.matched & ~dropped
        false, true = false & ~self.covered, self.matched & ~self.covered
        return precision_recall(true[None][..., self.order], false[None][..., self.order], persons[None])[0][0]


def _costs(scored: _Scored, errors: KeypointErrors, skeleton: Skeleton) -> tuple[tuple[Cost, ...], Array]:
    """Return the cost of each kind of error, and the precision ``(T, 101)`` without correction."""
    truth, found = scored.truth, scored.found
    kinds = list(KINDS.values())
    wanted: list[list[int]] = [[], *([kind] for kind in kinds), *(kinds[: last + 1] for last in range(1, len(kinds)))]
    chosen = np.zeros((len(wanted), len(CLASSES) + 1), bool)  # the last column is that of unlabeled joints, −1
    for row, each in enumerate(wanted):
        chosen[row, each] = True
    moved = corrected(truth, found, errors, skeleton)
    similarity = oks_after(truth, found, moved, scored.pairs, scored.sigmas, chosen[:, errors.kind])
    hidden = np.broadcast_to(scored.hidden, (len(wanted), len(truth.image)))
    person = match(truth, found, scored.pairs, similarity, hidden)
    covered = hidden_matches(person, hidden)
    best = [nearest_people(truth, scored.pairs, row, len(found.image))[1] for row in similarity]
    order = np.argsort(-found.score, kind="stable")
    judged = [_Judged(person[v] >= 0, covered[v], best[v], order) for v in range(len(wanted))]
    plain = judged[0]
    rescored = _rescored(scored, found, similarity[0], best[0])
    after = _rescored(scored, replace(found, joints=moved), similarity[-1], best[-1])
    persons = np.full(len(THRESHOLDS), (~truth.ignore).sum())
    base = plain.precision(persons)

    def cost(name: str, count: int, alone: Array, together: Array) -> Cost:
        gain = np.where(base[:, 0] < 0, 0, alone.mean(1) - base.mean(1))
        progressive = mean_or_minus_one(together)
        return Cost(name, count, MEANINGS[name], float(gain.mean()), progressive, tuple(gain.tolist()))

    rows = []
    for number, (name, kind) in enumerate(KINDS.items(), 1):
        together = judged[1] if number == 1 else judged[len(kinds) + number - 1]
        count = int((errors.kind == kind).sum())
        rows.append(cost(name, count, judged[number].precision(persons), together.precision(persons)))
    wrong = wrong_choices(found, scored.nearest, scored.best, float(THRESHOLDS[0]))
    rows.append(cost("score", wrong, rescored.precision(persons), after.precision(persons)))
    near = plain.best >= THRESHOLDS[:, None]
    unmatched = ~plain.matched[0] & ~plain.covered[0]
    everyone = np.ones_like(near)
    for name, dropped, dropped_after in (
        ("duplicate", near, after.best >= THRESHOLDS[:, None]),
        ("spurious", ~near, everyone),
    ):
        alone, progress = plain.precision(persons, dropped), after.precision(persons, dropped_after)
        rows.append(cost(name, int((unmatched & dropped[0]).sum()), alone, progress))
    hits, hits_after = ((each.matched & ~each.covered).sum(1) for each in (plain, after))
    alone = plain.precision(hits)
    alone = np.where(alone < 0, base, alone)  # where nobody is found, nothing is left to score
    rows.append(cost("missed", int(persons[0] - hits[0]), alone, after.precision(hits_after, everyone)))
    return tuple(rows), base


def _rescored(scored: _Scored, variant: Detections, similarity: Array, best: Array) -> _Judged:
    """Match detections again in the order of their optimal scores; rows stay those of ``variant``."""
    score = optimal_scores(variant, best, scored.sigmas)
    order = np.lexsort((-score, variant.image))
    sorted_ones = replace(variant.only(order), score=score[order])
    pairs = pair_up(scored.truth, sorted_ones)
    # Detections of an image have the same people, so that a block of pairs moves as a whole.
    first = np.searchsorted(scored.pairs.detection, np.arange(len(order)))
    start = np.searchsorted(pairs.detection, np.arange(len(order)))
    moved = first[order][pairs.detection] + np.arange(len(pairs.detection)) - start[pairs.detection]
    person = match(scored.truth, sorted_ones, pairs, similarity[moved], scored.hidden)
    covered = hidden_matches(person, scored.hidden)
    return _Judged(person[0] >= 0, covered[0], best[order], np.argsort(-score[order], kind="stable"))


def _calibration(score: Array, similarity: Array, used: Array) -> tuple[ScoreBin, ...]:
    """Return the mean OKS of detections in bins of equally many, by rising score."""
    rows = np.flatnonzero(used)
    rows = rows[np.argsort(score[rows], kind="stable")]
    parts = [part for part in np.array_split(rows, min(BINS, max(len(rows), 1))) if len(part)]
    return tuple(ScoreBin(float(score[part].mean()), float(similarity[part].mean()), len(part)) for part in parts)


def _images(scored: _Scored, errors: KeypointErrors, image_ids: Array) -> tuple[ImageErrors, ...]:
    """Return the errors of each image, those of all categories together."""
    truth, found, count = scored.truth, scored.found, len(image_ids)
    of_person, of_detection = truth.image % max(count, 1), found.image % max(count, 1)
    counted = ~truth.ignore

    def total(rows: Array, weights: Array | None = None) -> Array:
        return np.bincount(rows, weights, minlength=count)

    near = errors.person >= 0
    oks = np.zeros(len(truth.image))
    chosen = errors.person[scored.pairs.detection] == scored.pairs.person
    oks[scored.pairs.person[chosen]] = scored.similarity[chosen]
    people, hits = total(of_person[counted]), scored.person[0, 0]
    is_hit = (hits >= 0) & ~scored.covered[0, 0]
    similarity = total(of_person[counted], oks[counted])
    missed = people - total(of_detection[is_hit])
    is_near = scored.best >= THRESHOLDS[0]
    duplicates, spurious = (total(of_detection[(hits < 0) & which]) for which in (is_near, ~is_near))
    everyone = total(of_detection)
    by_kind = [total(of_detection[near], (errors.kind[near] == kind).sum(1)) for kind in range(5)]
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, of_detection[is_hit], found.score[is_hit])
    names = counts_of(np.zeros(0, np.int8))
    return tuple(
        ImageErrors(
            image_id=int(image_ids[row]),
            people=int(people[row]),
            detections=int(everyone[row]),
            similarity=float(similarity[row] / people[row]) if people[row] else float("nan"),
            missed=int(missed[row]),
            spurious=int(spurious[row]),
            duplicates=int(duplicates[row]),
            counts={name: int(by_kind[kind][row]) for kind, name in enumerate(names)},
            lowest_score=float(lowest[row]) if np.isfinite(lowest[row]) else float("nan"),
        )
        for row in range(count)
    )


def _as_one_category(truth: GroundTruth, found: Detections) -> tuple[GroundTruth, Detections]:
    """Return people and detections of several categories as if each image were one image per category."""
    if len(truth.categories) == 1:
        return truth, found
    count = len(truth.image_ids)

    def key(image: Array, category: Array) -> Array:
        return np.searchsorted(truth.categories, category) * count + image

    people, poses = key(truth.image, truth.category), key(found.image, found.category)
    order = np.argsort(people, kind="stable")
    ids = np.tile(truth.image_ids, len(truth.categories))
    index = np.tile(truth.crowd_index, len(truth.categories))
    by_category = replace(truth.only(order), image=people[order], image_ids=ids, crowd_index=index)
    return by_category, replace(found, image=poses)
