"""People annotated several times, from which OKS sigmas are estimated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.errors import DataError


def read_repeated(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the same people from several COCO keypoint files, matched by annotation id.

    Return joints ``(people, annotators, K, 3)``, areas ``(people,)`` from the first file, and the joint names.
    """
    contents = [_read(file) for file in files]
    annotated = [{a["id"]: a for a in content["annotations"]} for content in contents]
    shared = sorted(set.intersection(*(set(people) for people in annotated)))
    if not shared:
        raise DataError(
            f"no annotation id is in all of {', '.join(map(str, files))}; the files must annotate the same people "
            "under the same ids"
        )
    names = [str(name) for name in contents[0]["categories"][0]["keypoints"]]
    joints = np.empty((len(shared), len(files), len(names), 3))
    for column, (file, people) in enumerate(zip(files, annotated, strict=True)):
        for row, identity in enumerate(shared):
            values = people[identity].get("keypoints", ())
            if len(values) != 3 * len(names):
                raise DataError(
                    f"{file}: annotation {identity} has {len(values)} keypoint numbers, expected {3 * len(names)}"
                )
            joints[row, column] = np.reshape(values, (-1, 3))
    areas = np.array([float(annotated[0][identity].get("area", 0)) for identity in shared])
    if (areas <= 0).any():
        lacking = [identity for identity, area in zip(shared, areas, strict=True) if area <= 0]
        raise DataError(f"{files[0]}: annotation {lacking[0]} has no positive 'area', which OKS needs")
    return joints, areas, names


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
        content["categories"][0]["keypoints"]
        content["annotations"]
    except FileNotFoundError:
        raise DataError(f"annotation file {file} does not exist") from None
    except json.JSONDecodeError as error:
        raise DataError(f"annotation file {file} is not valid JSON: {error}") from None
    except (KeyError, IndexError, TypeError):
        raise DataError(
            f"{file} is not a COCO keypoint file: it needs 'annotations' and a category with 'keypoints'"
        ) from None
    return dict(content)
