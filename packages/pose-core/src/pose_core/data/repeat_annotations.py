"""People annotated several times, from which OKS sigmas are estimated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose_core.data.category_skeleton import named_categories
from pose_core.data.numbers import FAR, is_number, number_list, whole_number
from pose_core.errors import DataError
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown

SMALLEST_AREA = 1e-3
"""Smallest area of a person in square pixels: distances are divided by it."""


class _Annotated(NamedTuple):
    joints: dict[int, np.ndarray]
    """``(K, 3)`` by annotation id."""
    areas: dict[int, float]
    names: list[str]


def read_repeated(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the same people from several COCO keypoint files, matched by annotation id.

    Return joints ``(people, annotators, K, 3)``, areas ``(people,)`` from the first file, and the joint names.
    """
    first, *others = contents = [_read(file) for file in files]
    for file, other in zip(files[1:], others, strict=True):
        if other.names != first.names:
            raise DataError(f"{file} has other joints than {files[0]}, or in another order; annotate the same joints")
    shared = sorted(set.intersection(*(set(content.joints) for content in contents)))
    if not shared:
        raise DataError(
            f"no annotation id is in all of {', '.join(map(str, files))}; the files must annotate the same people "
            "under the same ids"
        )
    lacking = [identity for identity in shared if first.areas[identity] < SMALLEST_AREA]
    if lacking:
        raise DataError(
            f"{files[0]}: annotation {lacking[0]} has no 'area' of at least {SMALLEST_AREA:g} square pixels, which OKS "
            "needs"
        )
    joints = np.stack([[content.joints[identity] for content in contents] for identity in shared])
    return joints, np.array([first.areas[identity] for identity in shared]), first.names


def _read(file: Path) -> _Annotated:
    content = read_json(file)
    listed = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise DataError(f"{file} is not a COCO keypoint file: it needs 'annotations' and a category with 'keypoints'")
    names: list[str] = named_categories(content, file)[0]["keypoints"]
    found = _Annotated({}, {}, names)
    for position, entry in enumerate(listed):
        identity = whole_number(entry.get("id")) if isinstance(entry, dict) else None
        if identity is None:
            raise DataError(f"{file}: entry {position} of 'annotations' has no integer 'id'")
        where = f"{file}: annotation {identity}"
        if identity in found.joints:
            raise DataError(f"{where}: two annotations have this id; give each its own")
        values, area = entry.get("keypoints"), entry.get("area", 0)
        if not isinstance(values, list) or len(values) != 3 * len(names):
            count = len(values) if isinstance(values, list) else "no"
            raise DataError(f"{where} has {count} keypoint numbers, expected {3 * len(names)}")
        numbers = number_list(values)
        if numbers is None or not np.isin(numbers[2::3], (0, 1, 2)).all():
            raise DataError(
                f"{where}: 'keypoints' must be finite numbers within ±{FAR:.0f} pixels, each third a 0, 1 or 2"
            )
        if not is_number(area) or area > FAR**2:
            raise DataError(f"{where}: 'area' is {shown(area)}, expected a number of at most {FAR**2:g}")
        found.joints[identity], found.areas[identity] = numbers.reshape(-1, 3), float(area)
    return found
