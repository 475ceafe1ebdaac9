"""Reading of the published code's rescore data: a pickled list whose first row is [pose, pose_heatval, oks]."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.errors import DataError

HEADER = ["pose", "pose_heatval", "oks"]
ARRAYS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
    for name in ("_reconstruct", "scalar", "_frombuffer")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
"""All names that a pickle of arrays and numbers refers to, in old and new NumPy."""


class NumbersOnly(pickle.Unpickler):
    """An unpickler for arrays, numbers, lists and strings only: any other name in a file could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and contains more than numbers")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def is_pickle(path: Path) -> bool:
    """Return whether a file begins like a pickle."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def read_pickled(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read poses ``(N, K, 2)``, joint scores ``(N, K)`` and OKS ``(N,)``, float64, from a pickle."""
    with path.open("rb") as file:
        try:
            rows = NumbersOnly(file).load()
        except Exception as error:  # a damaged pickle fails in any way
            raise DataError(f"rescore data {path} cannot be unpickled: {error}") from None
    head = rows[0] if isinstance(rows, list) and len(rows) > 1 else None
    if not isinstance(head, list) or [str(word) for word in head] != HEADER:
        raise DataError(f"rescore data {path} are not a list that starts with {HEADER}, followed by poses")
    try:
        points, scores, oks = (
            np.stack([np.asarray(row[column], np.float64) for row in rows[1:]]) for column in range(3)
        )
        scores, oks = scores.reshape(points.shape[:2]), oks.reshape(len(points))
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"rescore data {path}: a row is not [pose, pose_heatval, oks]: {error}") from None
    if points.ndim != 3 or points.shape[2] != 2:
        raise DataError(f"rescore data {path}: poses have the shape {points.shape[1:]}, not (joints, 2)")
    return points, scores, oks
