"""Ground truth and detections as flat arrays, from COCO-style files or objects, checked while they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pose_core.errors import DataError

Array = np.ndarray
Source = str | Path | dict[str, Any] | Sequence[dict[str, Any]]


@dataclass(frozen=True)
class GroundTruth:
    """Annotated people, sorted by image. ``image`` indexes ``image_ids``, which is sorted."""

    image_ids: Array
    image: Array
    joints: Array
    """``(G, K, 3)`` float64."""
    box: Array
    """``(G, 4)`` x, y, w, h."""
    area: Array
    crowd: Array
    ignore: Array
    """People without a labelled joint, crowds, and those marked so: they neither count nor punish."""
    crowd_index: Array
    """``(I,)`` CrowdPose's index of each image; NaN where the file has none."""


@dataclass(frozen=True)
class Detections:
    """Detected poses, sorted by image and, within it, by falling score (equal ones in the given order)."""

    image: Array
    joints: Array
    """``(D, K, 2)`` float64."""
    score: Array
    area: Array


def read_source(source: Source, what: str) -> tuple[Any, str]:
    """Parse a path, or take an object as it is; and how to call it in messages."""
    if not isinstance(source, str | Path):
        return source, f"the given {what}"
    path = Path(source)
    try:
        return json.loads(path.read_bytes()), f"{what} {path}"
    except FileNotFoundError:
        raise DataError(f"{what} {path} does not exist") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{what} {path} is not valid JSON: {error.msg} at line {error.lineno}") from None


def read_ground_truth(source: Source, joints: int | None, image_ids: Sequence[int] | None = None) -> GroundTruth:
    """Read annotations of people (the keypoint category); ``joints`` is how many each must have, if known."""
    content, name = read_source(source, "ground truth")
    if not isinstance(content, dict) or "images" not in content or "annotations" not in content:
        raise DataError(f"{name} must be a COCO mapping with 'images' and 'annotations'")
    chosen = {image["id"]: image for image in content["images"]}
    if image_ids is not None:
        wanted = set(image_ids)
        chosen = {identity: image for identity, image in chosen.items() if identity in wanted}
    ids = np.array(sorted(chosen), dtype=np.int64)
    categories = {c["id"] for c in content.get("categories", ()) if c.get("keypoints")} or None
    people = [
        a
        for a in content["annotations"]
        if a.get("image_id") in chosen and (categories is None or a.get("category_id", 1) in categories)
    ]
    if joints is None:
        lengths = [len(a["keypoints"]) for a in people if a.get("keypoints")]
        joints = lengths[0] // 3 if lengths else 17
    try:
        table = np.zeros((len(people), joints, 3))
        for row, person in enumerate(people):
            values = person.get("keypoints")
            if values is None and person.get("iscrowd"):
                continue
            if values is None or len(values) != 3 * joints:
                found = "no keypoints" if values is None else f"{len(values)} keypoint numbers"
                raise DataError(f"{name}: annotation {person.get('id')} has {found}, expected {3 * joints}")
            table[row] = np.reshape(values, (joints, 3))
        box = np.array([person["bbox"] for person in people], dtype=np.float64).reshape(-1, 4)
        area = np.array([person.get("area", np.nan) for person in people], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        bad = next((p for p in people if "bbox" not in p or len(p["bbox"]) != 4), people[0])
        raise DataError(
            f"{name}: annotation {bad.get('id')} needs 'bbox' of four numbers and 'keypoints' ({error})"
        ) from None
    crowd = np.array([bool(person.get("iscrowd", 0)) for person in people], dtype=bool)
    labelled = np.array([person.get("num_keypoints", -1) for person in people])
    counted = (table[..., 2] > 0).sum(1)
    labelled = np.where(labelled < 0, counted, labelled)
    marked = np.array([bool(person.get("ignore", 0)) for person in people], dtype=bool)
    image = np.searchsorted(ids, np.array([person["image_id"] for person in people], dtype=np.int64))
    order = np.argsort(image, kind="stable")
    index = np.array([float(chosen[i].get("crowdIndex", np.nan)) for i in ids.tolist()])
    return GroundTruth(
        ids, image[order], table[order], box[order], area[order], crowd[order],
        (crowd | (labelled == 0) | marked)[order], index,
    )  # fmt: skip


def read_detections(
    source: Source, image_ids: Array, joints: int, *, most: int, others: Literal["refuse", "drop"] = "refuse"
) -> Detections:
    """Read results on these images, the ``most`` best of each; results on ``others`` are an error, or dropped."""
    content, name = read_source(source, "detections")
    if not isinstance(content, list | tuple):
        raise DataError(f"{name} must be a list of {{image_id, category_id, keypoints, score}}")
    try:
        image_id = np.array([entry["image_id"] for entry in content], dtype=np.int64)
        score = np.array([entry["score"] for entry in content], dtype=np.float64)
        flat = [entry["keypoints"] for entry in content]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: every entry needs image_id, keypoints and score; one lacks {error}") from None
    bad = next((row for row, values in enumerate(flat) if len(values) != 3 * joints), None)
    if bad is not None:
        raise DataError(f"{name}: entry {bad} has {len(flat[bad])} keypoint numbers, expected {3 * joints}")
    table = np.array(flat, dtype=np.float64).reshape(-1, joints, 3)
    image = np.searchsorted(image_ids, image_id)
    known = image_ids[np.minimum(image, max(len(image_ids) - 1, 0))] == image_id if len(image_ids) else image_id < 0
    if others == "drop":
        image, score, table = image[known], score[known], table[known]
    elif not known.all():
        strangers = sorted(set(image_id[~known].tolist()))
        raise DataError(
            f"{name}: {len(strangers)} images are not in the ground truth, for example {strangers[:5]}; "
            "is it for another split?"
        )
    order = np.lexsort((-score, image))
    image, score, table = image[order], score[order], table[order]
    rank = np.arange(len(image)) - np.searchsorted(image, image)
    kept = rank < most
    points = table[kept, :, :2]
    # As the COCO tools do: a detection's area is that of the box around all its keypoints.
    extent = np.ptp(points, axis=1) if len(points) else np.zeros((0, 2))
    return Detections(image[kept], points, score[kept], extent.prod(-1))
