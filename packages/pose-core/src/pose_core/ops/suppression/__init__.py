"""Suppression of poses that describe the same person."""

from __future__ import annotations

import numpy as np

from pose_core.ops.dispatch import choose
from pose_core.ops.suppression import _fast, _reference

Array = np.ndarray


def oks_nms(
    poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array | None = None
) -> Array:
    """Rows to keep, in order of falling score within each image.

    ``poses`` ``(N, K, 2)``, ``scores`` and ``areas`` ``(N,)``, ``sigmas`` ``(K,)``. Again and again the best pose left
    is kept and those more similar to it than ``threshold`` are dropped. ``images`` ``(N,)`` numbers the image of each
    pose; poses of different images never meet, and images come in rising order.
    """
    path = _fast if choose("oks_nms") == "fast" else _reference
    numbers = np.zeros(len(poses), np.int64) if images is None else np.asarray(images)
    return path.oks_nms(
        np.asarray(poses, np.float64),
        np.asarray(scores),
        np.asarray(areas, np.float64),
        np.asarray(sigmas),
        threshold,
        numbers,
    )


def soft_oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, most: int = 20) -> Array:
    """Rows to keep of one image, at most ``most``: similar poses lose score, score × exp(−oks²/threshold).

    As published this decides an order and cuts it off; no score is low enough to be dropped.
    """
    return _reference.soft_oks_nms(
        np.asarray(poses, np.float64),
        np.asarray(scores),
        np.asarray(areas, np.float64),
        np.asarray(sigmas),
        threshold,
        most,
    )
