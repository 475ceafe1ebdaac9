"""Convert crops' keypoints to a benchmark's results: person scores, suppression, result entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pose_core.ops.suppression import oks_nms, soft_oks_nms

Array = np.ndarray


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
    """Return box score × mean of the joint scores above ``threshold``, or 0: ``(N, K)``, ``(N,)`` → ``(N,)``."""
    above = joint_scores > threshold
    number = above.sum(1)
    mean = (joint_scores * above).sum(1) / np.maximum(number, 1)
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
    ``categories`` are COCO's category ids by annotation id; 1 by default.
    """
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


def _soft_by_image(points: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    kept = []
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        kept.append(rows[soft_oks_nms(points[rows], scores[rows], areas[rows], sigmas, threshold)])
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)
