"""Ground truth and detections as flat arrays, from COCO-style files or objects, checked while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.json_file import read_json
from pose_core.errors import DataError

Array = np.ndarray
Source = str | Path | dict[str, Any] | Sequence[dict[str, Any]]


@dataclass(frozen=True)
class GroundTruth:
    """Annotated people, sorted by image. ``image`` indexes ``image_ids``, which is sorted."""

    image_ids: Array
    crowd_index: Array
    """``(I,)`` CrowdPose's index of each image; NaN where the file has none."""
    categories: tuple[int, ...]
    image: Array
    category: Array
    joints: Array
    """``(G, K, 3)`` float64."""
    box: Array
    """``(G, 4)`` x, y, w, h."""
    area: Array
    crowd: Array
    ignore: Array
    """Crowds and people without a labeled joint: they neither count nor punish."""

    def only(self, rows: Array) -> GroundTruth:
        """Some of the people, by a mask ``(G,)``."""
        return replace(
            self, image=self.image[rows], category=self.category[rows], joints=self.joints[rows], box=self.box[rows],
            area=self.area[rows], crowd=self.crowd[rows], ignore=self.ignore[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class Detections:
    """Detected poses, sorted by category, image, and falling score (equal ones in the given order)."""

    image: Array
    category: Array
    joints: Array
    """``(D, K, 2)`` float64."""
    score: Array
    area: Array

    def only(self, rows: Array) -> Detections:
        """Some of the poses, by a mask ``(D,)``."""
        return Detections(self.image[rows], self.category[rows], self.joints[rows], self.score[rows], self.area[rows])


def read_source(source: Source, what: str) -> tuple[Any, str]:
    """Parse a path, or take an object as it is; and how to call it in messages."""
    if isinstance(source, str | Path):
        return read_json(Path(source), what), f"{what} {source}"
    return source, f"the given {what}"


def read_ground_truth(source: Source, joints: int, *, area_of_box: float | None = None) -> GroundTruth:
    """Read the annotations of the keypoint categories, each of ``joints`` joints.

    A person's area is the annotated one or, where given, ``area_of_box`` times that of the box.
    """
    content, name = read_source(source, "ground truth")
    lists = [content.get(key) for key in ("images", "annotations")] if isinstance(content, dict) else [None]
    if not all(isinstance(value, list | tuple) for value in lists):
        raise DataError(f"{name} must be a COCO mapping with the lists 'images' and 'annotations'")
    ids = np.unique(_column(content["images"], "id", name, "image", dtype=np.int64))
    annotations = content["annotations"]
    image_id = _column(annotations, "image_id", name, "annotation", dtype=np.int64)
    categories = _keypoint_categories(content, name)
    category = _column(annotations, "category_id", name, "annotation", dtype=np.int64, default=categories[0])
    wanted = np.isin(image_id, ids) & np.isin(category, categories)
    blank = [0] * (3 * joints)
    # A crowd is one region: some files give it no joints.
    people = [
        {**a, "keypoints": blank} if a.get("iscrowd") and not a.get("keypoints") else a
        for a, take in zip(annotations, wanted.tolist(), strict=True)
        if take
    ]
    table = _table(people, "keypoints", 3 * joints, name, "annotation").reshape(-1, joints, 3)
    box = _table(people, "bbox", 4, name, "annotation")
    area = area_of_box * box[:, 2] * box[:, 3] if area_of_box else _column(people, "area", name, "annotation")
    crowd = np.array([bool(person.get("iscrowd", 0)) for person in people], dtype=bool)
    given = _column(people, "num_keypoints", name, "annotation", default=-1)
    labeled = np.where(given < 0, (table[..., 2] > 0).sum(1), given)
    index = {record["id"]: record.get("crowdIndex") for record in content["images"]}
    order = np.argsort(image_id[wanted], kind="stable")
    return GroundTruth(
        image_ids=ids,
        crowd_index=np.array([c if isinstance(c := index[i], int | float) else np.nan for i in ids.tolist()]),
        categories=categories,
        image=np.searchsorted(ids, image_id[wanted][order]),
        category=category[wanted][order], joints=table[order], box=box[order], area=area[order], crowd=crowd[order],
        # As the COCO tools do: a file's own 'ignore' mark has no say.
        ignore=(crowd | (labeled == 0))[order],
    )  # fmt: skip


def read_detections(source: Source, truth: GroundTruth, *, max_detections: int) -> Detections:
    """Read results on the images of ``truth``, the ``max_detections`` best of each image and category.

    Results of a category that the ground truth does not have count for nothing, as in the COCO tools; an entry without
    one is of the first. An entry's area is that of its ``bbox`` where entries have one, else that of the box around all
    its keypoints: as the COCO tools do.
    """
    content, name = read_source(source, "detections")
    if not isinstance(content, list | tuple):
        raise DataError(f"{name} must be a list of {{image_id, category_id, keypoints, score}}")
    joints = truth.joints.shape[1]
    image_id = _column(content, "image_id", name, "entry", dtype=np.int64)
    score = _column(content, "score", name, "entry")
    points = _table(content, "keypoints", 3 * joints, name, "entry", finite=(0, 1)).reshape(-1, joints, 3)[..., :2]
    strange = np.setdiff1d(image_id, truth.image_ids)
    if len(strange):
        raise DataError(
            f"{name}: {len(strange)} images are not in the ground truth, for example {strange[:5].tolist()}; "
            "is it for another split?"
        )
    category = _column(content, "category_id", name, "entry", dtype=np.int64, default=truth.categories[0])
    known = np.isin(category, truth.categories)
    if len(category) and not known.any():
        raise DataError(
            f"{name}: no entry is of a keypoint category of the ground truth (category_id {list(truth.categories)}); "
            f"they are of {np.unique(category)[:5].tolist()}"
        )
    if content and content[0].get("bbox"):
        area = _table(content, "bbox", 4, name, "entry")[:, 2:].prod(1)
    else:
        area = np.ptp(points, axis=1).prod(1) if content else np.zeros(0)
    image = np.searchsorted(truth.image_ids, image_id)
    order = np.lexsort((-score, image, category))
    order = order[known[order]]
    group = np.searchsorted(truth.categories, category[order]) * len(truth.image_ids) + image[order]
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    kept = order[rank < max_detections]
    return Detections(image[kept], category[kept], points[kept], score[kept], area[kept])


def _keypoint_categories(content: dict[str, Any], name: str) -> tuple[int, ...]:
    """The categories that name keypoints; all, where none does."""
    listed = content.get("categories") or [{"id": a.get("category_id", 1)} for a in content["annotations"]]
    chosen = [category for category in listed if category.get("keypoints")] or listed
    return tuple(np.unique(_column(chosen, "id", name, "category", dtype=np.int64)).tolist()) or (1,)


def _column(
    entries: Sequence[Any], key: str, name: str, word: str, *, dtype: type = np.float64, default: int | None = None
) -> Array:
    """One number of each entry: ``(N,)``; ``default``, if any, where an entry has none."""
    if default is not None:
        entries = [e if not isinstance(e, dict) or key in e else {**e, key: default} for e in entries]
    return _table(entries, key, 1, name, word, dtype=dtype)[:, 0]


def _table(
    entries: Sequence[Any],
    key: str,
    size: int,
    name: str,
    word: str,
    *,
    dtype: type = np.float64,
    finite: tuple[int, ...] | None = None,
) -> Array:
    """``size`` numbers of each entry: ``(N, size)``; of every three, those at ``finite`` (all) must be finite."""
    try:
        table: Array = np.array([entry[key] for entry in entries], dtype=dtype).reshape(len(entries), size)
        checked = table if finite is None else table.reshape(-1, 3)[:, finite]
        if np.isfinite(checked).all():
            return table
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        pass  # say which entry it is
    for row, entry in enumerate(entries):
        fault = _fault(entry, key, size, dtype, finite)
        if fault:
            label = entry.get("id", row) if isinstance(entry, dict) and word != "entry" else row
            raise DataError(f"{name}: {word} {label} {fault}")
    raise DataError(f"{name} must have a list of mappings with '{key}' for every {word}")


def _fault(entry: Any, key: str, size: int, dtype: type, finite: tuple[int, ...] | None) -> str:
    """What is wrong with ``entry[key]``; nothing, if it is well."""
    if not isinstance(entry, dict):
        return f"is not a mapping but {str(entry)[:40]!r}"
    if key not in entry:
        return f"has no '{key}'"
    value = entry[key]
    if size > 1 and (not isinstance(value, list | tuple | np.ndarray) or len(value) != size):
        count = len(value) if isinstance(value, list | tuple | np.ndarray) else "no"
        hint = "; a joint set other than COCO's needs its own sigmas" if key == "keypoints" else ""
        return f"has {count} {key.removesuffix('s')} numbers, expected {size}{hint}"
    try:
        numbers: Array = np.array(value, dtype=dtype).reshape(size)
        checked = numbers if finite is None else numbers.reshape(-1, 3)[:, finite]
        return "" if np.isfinite(checked).all() else f"has a '{key}' that is not a finite number"
    except (TypeError, ValueError, OverflowError):
        return f"has {str(value)[:40]!r} as '{key}', which is not {'a number' if size == 1 else 'numbers'}"
