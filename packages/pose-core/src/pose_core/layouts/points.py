"""Predicted points with one row per annotated person, for the layouts that are scored by PCK."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from pose_core.files import whole_file

Array = np.ndarray

FAR_AWAY = -1e6
"""The coordinates of people without a prediction: a miss at any threshold."""


def points_by_person(points: Array, ids: Array, people: Sequence[int]) -> Array:
    """Return points ``(N, K, 2)`` of annotation ids ``(N,)`` as ``(P, K, 2)`` float64, one row for each of ``people``.

    ``people`` are annotation ids in increasing order; rows of people without points are `FAR_AWAY`.
    """
    rows = np.full((len(people), *points.shape[1:]), FAR_AWAY)
    rows[np.searchsorted(people, ids)] = points
    return rows


def write_points(file: Path, points: Array) -> None:
    """Write points ``(P, K, 2)`` as MATLAB's ``preds``, 1-based as published."""
    from scipy.io import savemat  # slow to import

    content = BytesIO()  # scipy does not accept a named temporary file
    savemat(content, {"preds": (points + 1).astype(np.float32)})
    with whole_file(file) as opened:
        opened.write(content.getvalue())
