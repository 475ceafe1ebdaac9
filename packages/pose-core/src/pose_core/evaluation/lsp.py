"""PCK on LSP: the percentage of joints predicted within 0.2 torso sizes of the annotation."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pose_core.errors import DataError
from pose_core.evaluation.mpii import relative_error, summarize

Array = np.ndarray

THRESHOLD = 0.2
LSP_GROUPS = {
    "Head": (13,), "Shoulder": (8, 9), "Elbow": (7, 10), "Wrist": (6, 11), "Hip": (2, 3), "Knee": (1, 4),
    "Ankle": (0, 5),
}  # fmt: skip


def lsp_pck(
    predictions: Array, ground_truth: Array, torso_boxes: Array | None = None, *, left_out: Collection[int] = ()
) -> dict[str, float]:
    """Return Head … Ankle, Mean, ``Mean@0.1`` and ``Mean@0.10``, in percent.

    ``predictions`` ``(N, K, 2)`` and ``ground_truth`` ``(N, K, 2)`` are in the same pixels, K 14 (LSP) or 16 (LSP and
    MPII). Errors are relative to the diagonal of ``torso_boxes`` ``(N, 2, 2)`` (corners) or, without them, to the
    distance from the left shoulder to the right hip. Every joint counts as visible, as published. A joint
    without a finite position counts as missed; a warning counts them. Joints ``left_out`` are in no mean.
    """
    truth = np.asarray(ground_truth, dtype=np.float64)[..., :2]
    points = np.asarray(predictions, dtype=np.float64)[..., :2]
    if points.shape != truth.shape or truth.shape[1:] not in {(14, 2), (16, 2)}:
        raise DataError(
            f"LSP predictions have the shape {points.shape}, the ground truth {truth.shape}; "
            "both must be (people, 14 or 16 joints, 2)"
        )
    if torso_boxes is None:
        size = torso_sizes(truth)
    else:
        corners = np.asarray(torso_boxes, dtype=np.float64)
        size = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=-1)
    error = relative_error(points, truth, size)
    groups = LSP_GROUPS if truth.shape[1] == 14 else None
    excluded = (*(() if groups else (6, 7)), *left_out)
    return summarize(error, np.ones_like(error), excluded, THRESHOLD, groups)


def torso_sizes(joints: Array) -> Array:
    """Return the distance ``(N,)`` from the left shoulder to the right hip of joints ``(N, K, 2)``, K 14 or 16."""
    shoulder, hip = (9, 2) if joints.shape[1] == 14 else (13, 2)
    return np.asarray(np.linalg.norm(joints[:, shoulder, :2] - joints[:, hip, :2], axis=-1))
