"""Object keypoint similarity between predicted poses."""

from __future__ import annotations

import numpy as np

Array = np.ndarray
TINY = np.spacing(1)


def oks(poses: Array, others: Array, areas: Array, other_areas: Array, sigmas: Array) -> Array:
    """Similarity ``(N, M)`` of poses ``(N, K, 2)`` and others ``(M, K, 2)``; areas ``(N,)`` and ``(M,)``.

    The mean over all joints of exp(−d² / (2·(2σ)²·area)), area the mean of the two: as suppression among predictions
    is published. (Against annotations only labelled joints count: see ``pose_core.evaluation.coco``.)
    """
    squares = ((poses[:, None] - others[None]) ** 2).sum(-1)
    area = (areas[:, None] + other_areas[None]) / 2 + TINY
    return np.exp(-squares / (2 * sigmas) ** 2 / area[..., None] / 2).mean(-1)
