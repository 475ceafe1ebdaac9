"""Predicted points with one row per annotated person, for the layouts that are scored by PCK."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from pose_core.data.numbers import numeric, within
from pose_core.errors import DataError
from pose_core.evaluation.keypoint_files import FARTHEST
from pose_core.files import whole_file
from pose_core.plurals import counted
from pose_core.reading.matlab import read_matlab

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


def read_points(file: Path, people: Sequence[int]) -> Array:
    """Return points ``(P, K, 2)``, 0-based, of the annotation ids ``people``, in rising order, as `write_points` wrote.

    A file's rows are those people, or, as in MPII's files, one row for every id.
    """
    if not file.is_file():
        raise DataError(f"results file {file} does not exist")
    stored = numeric(read_matlab(file, "preds", "a file of predictions with the variable 'preds'"))
    if stored is None or stored.ndim != 3 or stored.shape[2] != 2:
        have = "no numbers" if stored is None else f"the shape {stored.shape}"
        raise DataError(f"{file}: 'preds' has {have}, expected (people, joints, 2)")
    if not within(stored, FARTHEST):
        raise DataError(f"{file}: 'preds' holds a coordinate that is not a finite number within ±{FARTHEST:.0f} pixels")
    points: Array = stored - 1
    if len(people) == len(points):
        return points
    if people and len(points) > people[-1]:
        return points[list(people)]
    raise DataError(
        f"{file} has {counted(len(points), 'row')}, but the annotations list "
        f"{counted(len(people), 'person', 'people')}: give those of the split that was predicted"
    )
