"""Image by image, pose by pose."""

from __future__ import annotations

import numpy as np

from pose_core.ops.similarity import oks

Array = np.ndarray


def oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, images: Array) -> Array:
    kept: list[int] = []
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        left = rows[np.argsort(-scores[rows], kind="stable")]
        while len(left):
            best, rest = left[0], left[1:]
            kept.append(int(best))
            similar = oks(poses[[best]], poses[rest], areas[[best]], areas[rest], sigmas)[0]
            left = rest[similar <= threshold]
    return np.array(kept, dtype=np.int64)


def soft_oks_nms(poses: Array, scores: Array, areas: Array, sigmas: Array, threshold: float, max_poses: int) -> Array:
    left = np.argsort(-scores, kind="stable")
    current = np.asarray(scores, dtype=np.float64)[left]
    kept: list[int] = []
    while len(left) and len(kept) < max_poses:
        kept.append(int(left[0]))
        rest = left[1:]
        similar = oks(poses[left[:1]], poses[rest], areas[left[:1]], areas[rest], sigmas)[0]
        decayed = current[1:] * np.exp(-(similar**2) / threshold)
        order = np.argsort(-decayed, kind="stable")
        left, current = rest[order], decayed[order]
    return np.array(kept, dtype=np.int64)
