"""The best scores that detections could have, and where their own scores choose the wrong one."""

from __future__ import annotations

import numpy as np

from pose_core.evaluation.coco import EPSILON
from pose_core.evaluation.keypoint_files import Detections

Array = np.ndarray

SPREAD = 0.5
"""The suppression of a score by a similar detection is exp(−OKS² / SPREAD)."""
IMAGES = 1 << 11
"""The number of images whose detections are compared at a time, to bound memory."""


def optimal_scores(found: Detections, best: Array, sigmas: Array) -> Array:
    """Return the score ``(D,)`` of each detection: its largest OKS ``best`` with any person, after soft suppression.

    Among the detections of an image, the best lowers the scores of those similar to it, then the next best of the
    rest. Their OKS is computed with the mean of their areas.
    """
    result = best.astype(np.float64).copy()
    _, first, count = np.unique(found.image, return_index=True, return_counts=True)
    several = count > 1
    for size in np.unique(count[several]).tolist():  # images with equally many detections are handled together
        starts = first[count == size]
        for begin in range(0, len(starts), IMAGES):
            rows = starts[begin : begin + IMAGES, None] + np.arange(size)
            result[rows] = _suppressed(best[rows], _similarities(found.joints[rows], found.area[rows], sigmas))
    return result


def _similarities(points: Array, area: Array, sigmas: Array) -> Array:
    """Return the OKS ``(I, N, N)`` between the poses ``(I, N, K, 2)`` of each image."""
    mean = (area[:, :, None] + area[:, None]) / 2 + EPSILON
    total = np.zeros(mean.shape)
    for joint, sigma in enumerate(sigmas.tolist()):
        x, y = points[:, :, joint, 0], points[:, :, joint, 1]
        squares = (x[:, :, None] - x[:, None]) ** 2 + (y[:, :, None] - y[:, None]) ** 2
        total += np.exp(-squares / (2 * mean * (2 * sigma) ** 2))
    return total / len(sigmas)


def _suppressed(scores: Array, similarity: Array) -> Array:
    """Return scores ``(I, N)`` after soft suppression."""
    images, result = np.arange(len(scores)), scores.astype(np.float64).copy()
    waiting = np.ones(scores.shape, bool)
    for _ in range(scores.shape[1]):
        best = np.where(waiting, result, -1.0).argmax(1)
        waiting[images, best] = False
        factor = np.exp(-(similarity[images, best] ** 2) / SPREAD)
        result = np.where(waiting, result * factor, result)
    return result


def wrong_choices(found: Detections, nearest: Array, best: Array, threshold: float) -> int:
    """Return the number of people near whom the detection of the best score is not the one of the best OKS.

    ``nearest`` ``(D,)`` is the person most similar to a detection, −1 for none, ``best`` ``(D,)`` their OKS; only
    detections from ``threshold`` on count as near.
    """
    rows = np.flatnonzero((nearest >= 0) & (best >= threshold))
    by_score = rows[np.lexsort((-found.score[rows], nearest[rows]))]
    person, first = np.unique(nearest[by_score], return_index=True)
    if not len(person):
        return 0
    top = np.maximum.reduceat(best[by_score], first)
    return int((best[by_score[first]] < top).sum())
