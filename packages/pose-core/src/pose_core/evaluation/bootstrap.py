"""The uncertainty of a difference between two sets of predictions: paired bootstrap over images.

AP is not a mean over images. So images are drawn with replacement, and AP is computed anew from matches of detections
and people that were made once: an image drawn n times contributes its detections and people n times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pose_core.evaluation.coco import (
    AREAS,
    EPSILON,
    RECALLS,
    THRESHOLDS,
    hidden_matches,
    match,
    mean_or_minus_one,
    oks_of_pairs,
    pair_up,
)
from pose_core.evaluation.keypoint_files import Detections, GroundTruth

Array = np.ndarray

RESAMPLES = 1000
CHUNK = 50
"""The number of resamples computed at a time, to bound memory."""
Score = Callable[[Array], Array]
"""Computes the score of each resample ``(R,)`` from how often each image is drawn ``(R, I)``; −1 if it has none."""


@dataclass(frozen=True)
class Difference:
    """A difference of two scores: its value, standard error and 95 % interval, in the unit of the scores."""

    value: float
    error: float
    low: float
    high: float
    resamples: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Matches:
    """Detections of one category in order of decreasing score: their image, and whether they are right at each OKS.

    ``image`` is ``(D,)``; ``true`` and ``false`` are ``(T, D)`` bool; ``persons`` ``(I,)`` counts people by image.
    """

    image: Array
    true: Array
    false: Array
    persons: Array


def match_images(truth: GroundTruth, found: Detections, sigmas: Array) -> list[Matches]:
    """Return the matches of each category, for people of all sizes."""
    return [
        _match_category(truth.only(truth.category == c), found.only(found.category == c), sigmas)
        for c in truth.categories
    ]


def _match_category(truth: GroundTruth, found: Detections, sigmas: Array) -> Matches:
    pairs = pair_up(truth, found)
    low, high = AREAS["all"]
    hidden = (truth.ignore | (truth.area < low) | (truth.area > high))[None]
    person = match(truth, found, pairs, oks_of_pairs(truth, found, pairs, sigmas), hidden)
    order = np.argsort(-found.score, kind="stable")
    matched = (person >= 0)[0]
    covered = hidden_matches(person, hidden)[0] | (~matched & ((found.area < low) | (found.area > high)))
    matched, covered = matched[:, order], covered[:, order]
    persons = np.bincount(truth.image[~hidden[0]], minlength=len(truth.image_ids))
    return Matches(found.image[order], matched & ~covered, ~matched & ~covered, persons)


def resampled_ap(matches: list[Matches], drawn: Array) -> Array:
    """Return the AP ``(R,)`` of resamples in which each image is drawn as often as ``drawn`` ``(R, I)`` says."""
    tables = np.stack([_category_ap(each, drawn) for each in matches], 1)  # (R, C)
    return np.array([mean_or_minus_one(row) for row in tables])


def _category_ap(found: Matches, drawn: Array) -> Array:
    times = drawn[:, found.image]  # (R, D)
    people = drawn @ found.persons
    total = np.zeros(len(drawn))
    for true, false in zip(found.true, found.false, strict=True):
        at = np.flatnonzero(true)
        if not len(at):
            continue
        # Precision is highest, and recall rises, at true positives alone.
        hits = np.cumsum(times[:, at], 1, dtype=np.float64)
        misses = np.cumsum(times * false, 1, dtype=np.float64)[:, at]
        best = np.maximum.accumulate((hits / (misses + hits + EPSILON))[:, ::-1], 1)[:, ::-1]
        reached = hits / np.maximum(people, 1)[:, None]
        for row, (recall, precision) in enumerate(zip(reached, best, strict=True)):
            place = np.searchsorted(recall, RECALLS, "left")
            total[row] += precision[place[place < len(at)]].sum()
    return np.where(people > 0, total / (len(THRESHOLDS) * len(RECALLS)), -1.0)


def ap_difference(
    truth: GroundTruth,
    first: Detections,
    second: Detections,
    sigmas: Array,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Return by how much the AP of ``first`` exceeds that of ``second`` on the same images."""
    ours, others = match_images(truth, first, sigmas), match_images(truth, second, sigmas)
    return paired_difference(
        lambda drawn: resampled_ap(ours, drawn),
        lambda drawn: resampled_ap(others, drawn),
        len(truth.image_ids),
        resamples=resamples,
        seed=seed,
    )


def ratio_difference(
    first: Array, second: Array, total: Array, *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Return by how much ``first`` exceeds ``second``, in percent of ``total``: for PCK, a ratio of sums.

    ``first`` and ``second`` ``(I,)`` count each image's hits, ``total`` ``(I,)`` its labeled joints.
    """

    def share(hits: Array) -> Score:
        def of(drawn: Array) -> Array:
            number = drawn @ total
            return np.where(number > 0, 100 * (drawn @ hits) / np.maximum(number, 1), -1.0)

        return of

    return paired_difference(share(first), share(second), len(total), resamples=resamples, seed=seed)


def paired_difference(first: Score, second: Score, images: int, *, resamples: int, seed: int) -> Difference:
    """Return by how much one score exceeds another; both see the same resamples of the images."""
    whole = np.ones((1, images), np.int64)
    value = float(first(whole)[0] - second(whole)[0])
    generator = np.random.default_rng(seed)
    found = []
    for start in range(0, resamples, CHUNK):
        number = min(CHUNK, resamples - start)
        drawn = generator.multinomial(images, np.full(images, 1 / images), number)
        a, b = first(drawn), second(drawn)
        found.append((a - b)[(a > -1) & (b > -1)])  # without the few resamples in which nobody is annotated
    differences = np.concatenate(found)
    if not len(differences):
        return Difference(value, 0.0, value, value, 0)
    low, high = np.percentile(differences, (2.5, 97.5))
    return Difference(value, float(differences.std()), float(low), float(high), len(differences))
