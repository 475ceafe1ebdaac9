"""Suppression of poses that describe the same person."""

from __future__ import annotations

import numpy as np

from pose_core.ops.dispatch import choose
from pose_core.ops.similarity import FloatArray
from pose_core.ops.suppression import _fast, _reference

__all__ = ["IntArray", "oks_nms", "soft_oks_nms"]

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64 | np.int32]]


def oks_nms(
    poses: FloatArray,
    scores: FloatArray,
    areas: FloatArray,
    sigmas: FloatArray,
    threshold: float,
    images: IntArray | None = None,
) -> IntArray:
    """Return the rows to keep, in order of falling score within each image.

    ``poses`` ``(N, K, 2)`` are finite, ``scores`` and ``areas`` ``(N,)``, ``sigmas`` ``(K,)``. Repeatedly the best
    remaining pose is kept, and those more similar to it than ``threshold`` are dropped. ``images`` ``(N,)`` numbers the
    image of each pose; poses of different images are never compared, and images come in rising order.
    """
    suppress = _fast.oks_nms if choose("oks_nms") == "fast" else _reference.oks_nms
    numbers = np.zeros(len(poses), np.int64) if images is None else np.asarray(images)
    return suppress(
        np.asarray(poses, np.float64),
        np.asarray(scores),
        np.asarray(areas, np.float64),
        np.asarray(sigmas),
        threshold,
        numbers,
    )


def soft_oks_nms(
    poses: FloatArray, scores: FloatArray, areas: FloatArray, sigmas: FloatArray, threshold: float, max_poses: int = 20
) -> IntArray:
    """Return the rows to keep of one image, at most ``max_poses``; similar poses lose score: × exp(−oks²/threshold).

    ``poses`` ``(N, K, 2)``, ``scores`` and ``areas`` ``(N,)``, ``sigmas`` ``(K,)``. As published, the lowered
    scores only set the order, which is cut off; no pose is dropped for a low score.
    """
    return _reference.soft_oks_nms(
        np.asarray(poses, np.float64),
        np.asarray(scores),
        np.asarray(areas, np.float64),
        np.asarray(sigmas),
        threshold,
        max_poses,
    )
