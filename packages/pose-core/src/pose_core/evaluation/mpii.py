"""PCKh on MPII: the percentage of joints predicted within half a head size of the annotation."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.numbers import FAR, numeric, within
from pose_core.errors import DataError
from pose_core.plurals import counted
from pose_core.reading.matlab import read_fields

Array = np.ndarray
_log = logging.getLogger(__name__)

HEAD_SHARE = 0.6
"""A head's size as a fraction of the diagonal of the annotated head box."""
EXCLUDED = (6, 7)
"""Pelvis and thorax, which no mean includes."""
GROUPS = {
    "Head": (9,), "Shoulder": (12, 13), "Elbow": (11, 14), "Wrist": (10, 15), "Hip": (2, 3), "Knee": (1, 4),
    "Ankle": (0, 5),
}  # fmt: skip
FIELDS = {"jnt_missing": (16, -1), "pos_gt_src": (16, 2, -1), "headboxes_src": (2, 2, -1)}
"""The fields read from the ground truth, and their shapes; the last axis is the people."""
SAME = 2.0
"""The maximum median distance, in pixels, between two files' joints of the same person."""
NOBODY = -1e5
"""A person none of whose predicted coordinates is above this has no prediction."""
STRAY = 0.01
"""The maximum fraction of people that may differ between two files of the same set."""


def mpii_pckh(
    predictions: Array, ground_truth: str | Path | Mapping[str, Any], *, left_out: Collection[int] = ()
) -> dict[str, float]:
    """Return Head … Ankle, Mean, ``Mean@0.1`` and ``Mean@0.10``, in percent.

    ``predictions`` is ``(N, 16, 2)``, 0-based. ``ground_truth`` is ``gt_valid.mat`` or a mapping with its fields.
    ``Mean@0.1`` has a threshold of 0.11, as in published results; ``Mean@0.10`` one of 0.10. As published, a joint
    without a finite position counts as missed; a warning counts them. Joints ``left_out`` are in no mean.
    """
    truth, visible, size = _truth(_read(ground_truth))
    points = np.asarray(predictions, dtype=np.float64)[..., :2] + 1
    if points.shape != truth.shape:
        raise DataError(
            f"MPII predictions have the shape {points.shape}, the ground truth {truth.shape}; "
            "give one row per person, in the order of the ground truth"
        )
    return summarize(relative_error(points, truth, size), visible, (*EXCLUDED, *left_out))


def read_heads(ground_truth: str | Path | Mapping[str, Any]) -> tuple[Array, Array]:
    """Return joints ``(N, 16, 3)`` x, y, visible, 0-based, and the head size ``(N,)`` that errors are relative to."""
    truth, visible, size = _truth(_read(ground_truth))
    return np.concatenate([truth - 1, visible[..., None]], -1), size


def _truth(content: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """Return joints ``(N, 16, 2)``, 1-based, which are visible ``(N, 16)``, and the size ``(N,)`` of heads."""
    head = content["headboxes_src"]
    size: Array = np.linalg.norm(head[1] - head[0], axis=0) * HEAD_SHARE
    return content["pos_gt_src"].transpose(2, 0, 1), 1 - content["jnt_missing"].T, size


def check_same_people(people: Mapping[int, Array], ground_truth: str | Path | Mapping[str, Any], file: Path) -> None:
    """Raise a DataError if the rows of ``file`` and of the ground truth are not the same people.

    ``people`` are the joints ``(16, 3)``, 0-based, of each row of ``file``; they may differ by rounding. If the people
    were in another order, the score would be wrong without an error.
    """
    content = _read(ground_truth)
    truth, missing = content["pos_gt_src"].transpose(2, 0, 1), content["jnt_missing"].T > 0
    rows = np.array(sorted(people), dtype=np.int64)
    beyond = rows[rows >= len(truth)]
    if len(beyond):
        raise DataError(f"{file} has a row {beyond[-1]}, but the ground truth for PCKh has only {len(truth)} people")
    joints = np.stack([people[row] for row in rows.tolist()])
    apart = np.linalg.norm(joints[..., :2] + 1 - truth[rows], axis=-1)
    apart[(joints[..., 2] <= 0) | missing[rows]] = np.nan
    known = np.flatnonzero(~np.isnan(apart).all(1))
    other = known[np.nanmedian(apart[known], 1) > SAME]
    if len(other) > STRAY * len(known):
        raise DataError(
            f"{file}: {len(other)} of {len(known)} people are not those of the ground truth for PCKh (the first: row "
            f"{rows[other[0]]}); the two must list the same people in the same order"
        )


def relative_error(points: Array, truth: Array, size: Array) -> Array:
    """Return distances ``(N, K)`` relative to each person's ``size`` ``(N,)``; if that is 0, only exact points hit.

    The distance of a point that is not finite is NaN, which no threshold reaches; a warning counts such points.
    """
    lost = ~np.isfinite(points).all(-1)
    if lost.any():
        _log.warning(
            "%s without a finite position: counted as missed, as in the published code; the first is of row %d",
            counted(int(lost.sum()), "predicted joint"), np.flatnonzero(lost.any(1))[0],
        )  # fmt: skip
        points = np.where(lost[..., None], np.nan, points)
    return np.linalg.norm(points - truth, axis=-1) / np.maximum(size, np.spacing(1))[:, None]


def summarize(
    error: Array,
    visible: Array,
    excluded: tuple[int, ...],
    threshold: float = 0.5,
    groups: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, float]:
    """Return percentages by group and over all joints, from normalized errors ``(N, K)``.

    Joints that are ``excluded`` are in no mean, and groups of only such joints are left out.
    """
    number = visible.sum(0)
    used = np.array([joint not in excluded for joint in range(error.shape[1])]) & (number > 0)

    def share(limit: float) -> Array:
        hit = ((error * visible <= limit) * visible).sum(0)
        return 100 * hit / np.maximum(number, 1)

    def mean(limit: float) -> float:
        return float((share(limit)[used] * number[used]).sum() / max(number[used].sum(), 1))

    by_joint = share(threshold)
    kept = {name: [j for j in joints if j not in excluded] for name, joints in (groups or GROUPS).items()}
    result = {name: float(by_joint[joints].mean()) for name, joints in kept.items() if joints}
    return {**result, "Mean": mean(threshold), "Mean@0.1": mean(0.11), "Mean@0.10": mean(0.10)}


def _read(source: str | Path | Mapping[str, Any]) -> dict[str, Array]:
    if isinstance(source, Mapping):
        content, name = source, "the given ground truth"
    else:
        name = f"ground truth {source}"
        if not Path(source).is_file():
            raise DataError(f"{name} does not exist: PCKh needs annot/gt_valid.mat of the MPII annotations")
        content = read_fields(Path(source), FIELDS, "MPII's ground truth for PCKh")
    for field in FIELDS:
        if field not in content:
            have = ", ".join(key for key in content if not key.startswith("__"))
            raise DataError(f"{name} has no field '{field}' (it has {have})")
    arrays = {}
    for field, shape in FIELDS.items():
        try:
            # MATLAB drops the last axis if there is one person.
            numbers = numeric(content[field])
            if numbers is None:
                raise DataError(f"{name}: '{field}' does not hold numbers")
            arrays[field] = numbers.reshape(shape)
        except ValueError:
            raise DataError(
                f"{name}: '{field}' has the shape {np.shape(content[field])}, expected {shape[:-1]} and people last"
            ) from None
    if not isinstance(source, Mapping):
        _check_values(arrays, name)
    people = {field: array.shape[-1] for field, array in arrays.items()}
    if len(set(people.values())) > 1:
        raise DataError(f"{name}: the fields differ in their number of people: {people}")
    return arrays


def _check_values(arrays: Mapping[str, Array], name: str) -> None:
    """Raise a DataError for values of a file that no annotation has."""
    for field, array in arrays.items():
        if not within(array):
            raise DataError(
                f"{name}: '{field}' holds a value that is not a finite number within ±{FAR:.0f}; fetch it again"
            )
    if not np.isin(arrays["jnt_missing"], (0, 1)).all():
        raise DataError(f"{name}: 'jnt_missing' holds values other than 0 and 1; fetch it again")
