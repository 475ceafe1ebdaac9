"""Convert crops' keypoints to a benchmark's results: person scores, suppression, result entries."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pose_core.errors import DataError
from pose_core.ops.suppression import oks_nms, soft_oks_nms
from pose_core.plurals import counted

Array = np.ndarray
_log = logging.getLogger(__name__)


class CropResults(NamedTuple):
    """Predicted crops, one row each: ``keypoints`` ``(N, K, 3)`` x, y, score in image pixels; ``center`` and ``scale``
    ``(N, 2)`` of the crop; ``box_score``, ``image_id``, ``annotation_id`` ``(N,)``."""

    keypoints: Array
    center: Array
    scale: Array
    box_score: Array
    image_id: Array
    annotation_id: Array


def person_scores(joint_scores: Array, box_scores: Array, threshold: float) -> Array:
    """Return box score × mean of the joint scores above ``threshold``, or 0: ``(N, K)``, ``(N,)`` → ``(N,)``.

    As published, a joint whose score is NaN is not above the threshold.
    """
    above = joint_scores > threshold
    number = above.sum(1)
    mean = np.where(above, joint_scores, 0).sum(1) / np.maximum(number, 1)
    return mean * box_scores


def coco_results(
    found: CropResults,
    sigmas: Array,
    *,
    joint_threshold: float,
    oks_threshold: float,
    soft_nms: bool = False,
    categories: Mapping[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Return result entries as published: suppressed per image, original scores, with the crop's center and scale.

    Images are in rising order of their id, poses in falling order of their score, regardless of the shards.
    ``categories`` are COCO's category ids by annotation id; 1 by default. Coordinates must be finite; a joint whose
    score is NaN does not count for its person's score.
    """
    _check(found)
    scores = person_scores(found.keypoints[..., 2], found.box_score, joint_threshold)
    areas = np.prod(found.scale.astype(np.float64) * 200, axis=1)
    # A fixed initial order, so that ties do not depend on which process predicted a crop.
    start = np.lexsort((found.annotation_id, found.image_id))
    points = found.keypoints[start, :, :2]
    if soft_nms:
        kept = _soft_by_image(points, scores[start], areas[start], sigmas, oks_threshold, found.image_id[start])
    else:
        kept = oks_nms(points, scores[start], areas[start], sigmas, oks_threshold, found.image_id[start])
    return [
        {
            "image_id": int(found.image_id[row]),
            "category_id": (categories or {}).get(int(found.annotation_id[row]), 1),
            "keypoints": [float(value) for value in found.keypoints[row].reshape(-1)],
            "score": float(scores[row]),
            "center": [float(value) for value in found.center[row]],
            "scale": [float(value) for value in found.scale[row]],
        }
        for row in start[kept].tolist()
    ]


def _check(found: CropResults) -> None:
    """Raise a DataError for coordinates that are not finite numbers, and warn once of joint scores that are NaN."""
    lost = np.flatnonzero(~np.isfinite(found.keypoints[..., :2]).all((1, 2)))
    if len(lost):
        raise DataError(
            f"the predictions of {counted(len(lost), 'person', 'people')} have a coordinate that is not a finite "
            f"number, the first in image {found.image_id[lost[0]]}: the network's output is damaged"
        )
    unknown = np.isnan(found.keypoints[..., 2])
    if unknown.any():
        people = unknown.any(1)
        _log.warning(
            "%s of %s: NaN is their score, so they do not count for the person's score, as in the published code; the "
            "first is in image %d", counted(int(unknown.sum()), "joint"),
            counted(int(people.sum()), "person", "people"), found.image_id[np.flatnonzero(people)[0]],
        )  # fmt: skip


def _soft_by_image(points: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    kept = []
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        kept.append(rows[soft_oks_nms(points[rows], scores[rows], areas[rows], sigmas, threshold)])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)
