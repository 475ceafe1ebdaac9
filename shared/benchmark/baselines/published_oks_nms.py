"""OKS suppression as published: image by image, and one pose against the others in a loop."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def similarity(pose: Array, others: Array, area: float, areas: Array, sigmas: Array) -> Array:
    """OKS of a pose ``(K, 3)`` with others ``(M, K, 3)``."""
    variances = (sigmas * 2) ** 2
    result = np.zeros(len(others))
    for index in range(len(others)):
        dx, dy = others[index][:, 0] - pose[:, 0], others[index][:, 1] - pose[:, 1]
        exponent = (dx**2 + dy**2) / variances / ((area + areas[index]) / 2 + np.spacing(1)) / 2
        result[index] = np.sum(np.exp(-exponent)) / exponent.shape[0]
    return result


def suppress(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float) -> list[int]:
    """Rows to keep of one image."""
    order = scores.argsort()[::-1]
    kept: list[int] = []
    while order.size > 0:
        best = order[0]
        kept.append(int(best))
        similar = similarity(poses[best], poses[order[1:]], areas[best], areas[order[1:]], sigmas)
        order = order[np.where(similar <= threshold)[0] + 1]
    return kept
