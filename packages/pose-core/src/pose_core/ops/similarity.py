"""Object keypoint similarity between predicted poses."""

from __future__ import annotations

import numpy as np

__all__ = ["FloatArray", "oks"]

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.float32]]
TINY = np.spacing(1)


def oks(
    poses: FloatArray, others: FloatArray, areas: FloatArray, other_areas: FloatArray, sigmas: FloatArray
) -> FloatArray:
    """Return the similarity ``(N, M)`` of poses ``(N, K, 2)`` and others ``(M, K, 2)``; areas ``(N,)`` and ``(M,)``.

    It is the mean over all joints of exp(−d² / (2·(2σ)²·area)), area being the mean of the two: the published form for
    suppression among predictions. (Against annotations only labeled joints count: see ``pose_core.evaluation.coco``.)
    """
    squares = ((poses[:, None] - others[None]) ** 2).sum(-1)
    area = (areas[:, None] + other_areas[None]) / 2 + TINY
    return np.exp(-squares / (2 * sigmas) ** 2 / area[..., None] / 2).mean(-1)
