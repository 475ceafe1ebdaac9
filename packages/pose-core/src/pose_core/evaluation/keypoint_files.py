"""Read and check ground truth and detections, from COCO-style files or objects, as flat arrays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.coco_file import AREA_OF_BOX as AREA_OF_BOX
from pose_core.data.coco_file import area_of_boxes, read_coco_file
from pose_core.data.diagnostics import Problems
from pose_core.data.numbers import whole_number
from pose_core.errors import DataError
from pose_core.evaluation.result_columns import columns_of
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton

Array = np.ndarray
FARTHEST = 1e9
"""Largest coordinate of a result in a file, in pixels; a network that has diverged may predict far outside."""
_log = logging.getLogger(__name__)
Source = str | Path | dict[str, Any] | Sequence[dict[str, Any]]
"""A file, or its content."""


@dataclass(frozen=True)
class GroundTruth:
    """The annotated people, sorted by image. ``image`` indexes ``image_ids``, which is sorted."""

    name: str
    """The file, for messages."""
    image_ids: Array
    crowd_index: Array
    """``(I,)``: the crowd index of each image; NaN if the file has none."""
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
    """Crowds and people without a labeled joint: neither they nor detections matched to them count."""

    def only(self, rows: Array) -> GroundTruth:
        """Return some of the people, selected by a mask ``(G,)``."""
        return replace(
            self, image=self.image[rows], category=self.category[rows], joints=self.joints[rows], box=self.box[rows],
            area=self.area[rows], crowd=self.crowd[rows], ignore=self.ignore[rows],
        )  # fmt: skip

    def without_joints(self, joints: Sequence[int]) -> GroundTruth:
        """Return the annotations with some joints not labeled."""
        if not joints:
            return self
        kept = self.joints.copy()
        kept[:, list(joints)] = 0
        return replace(self, joints=kept, ignore=self.ignore | (kept[..., 2] <= 0).all(1))

    def without(self, image_ids: Set[int]) -> GroundTruth:
        """Return the annotations without some images and their people."""
        if not image_ids:
            return self
        kept = ~np.isin(self.image_ids, list(image_ids))
        people = self.only(kept[self.image])
        return replace(
            people, image_ids=self.image_ids[kept], crowd_index=self.crowd_index[kept],
            image=(np.cumsum(kept) - 1)[people.image],
        )  # fmt: skip


@dataclass(frozen=True)
class Detections:
    """Detected poses, sorted by category, image and decreasing score; equal scores keep the given order."""

    image: Array
    category: Array
    joints: Array
    """``(D, K, 2)`` float64."""
    score: Array
    area: Array

    def only(self, rows: Array) -> Detections:
        """Return some of the poses, selected by a mask ``(D,)``."""
        return Detections(self.image[rows], self.category[rows], self.joints[rows], self.score[rows], self.area[rows])


def read_source(source: Source, what: str) -> tuple[Any, str]:
    """Return the content of a path, or the given object unchanged, and a name for it in messages."""
    if isinstance(source, str | Path):
        return read_json(Path(source), what), f"{what} {source}"
    return source, "the predictions" if what == "detections" else f"the given {what}"


def read_ground_truth(
    source: Source, joints: int, *, area_of_box: float | None = None, skeleton: Skeleton | None = None
) -> GroundTruth:
    """Read the annotations of the keypoint categories, which must have ``joints`` joints, in a ``skeleton``'s order.

    A person's area is the annotated one or, if ``area_of_box`` is given or the file states none, that fraction
    (`AREA_OF_BOX`) of the box's area. A file is refused for whatever training would refuse it for; objects of the
    caller are taken as the COCO tools take them, except that ids must be integers and none may repeat: the COCO tools
    would count one of two equal ones twice, and the other not at all.
    """
    if isinstance(source, str | Path):
        return _read_file(Path(source), joints, area_of_box, skeleton)
    return _read_objects(source, joints, area_of_box)


def _read_file(file: Path, joints: int, area_of_box: float | None, skeleton: Skeleton | None) -> GroundTruth:
    found = read_coco_file(file, Problems(), joints, skeleton, what="ground truth", lists=("images", "annotations"))
    name = f"ground truth {file}"
    lacking = np.isnan(found.area)
    if lacking.any() and not area_of_box:
        _warn_of_areas(name, int(lacking.sum()), len(lacking))
    by_id = np.argsort(found.image_ids)
    image = np.argsort(by_id)[found.image]
    order = np.argsort(image, kind="stable")
    return GroundTruth(
        name=name, image_ids=found.image_ids[by_id], crowd_index=found.crowd_index[by_id],
        categories=found.categories, image=image[order], category=found.category[order], joints=found.joints[order],
        box=found.box[order], area=area_of_boxes(found, area_of_box)[order], crowd=found.crowd[order],
        ignore=(found.crowd | (found.labeled == 0))[order],
    )  # fmt: skip


def _read_objects(content: Any, joints: int, area_of_box: float | None) -> GroundTruth:
    name = "the given ground truth"
    lists = [content.get(key) for key in ("images", "annotations")] if isinstance(content, dict) else [None]
    if not all(isinstance(value, list | tuple) for value in lists):
        raise DataError(f"{name} must be a COCO mapping with the lists 'images' and 'annotations'")
    ids = _column(content["images"], "id", name, "image", dtype=np.int64)
    order = np.argsort(ids)
    _refuse_repeated(ids, "images", name)
    crowd_index = [image.get("crowdIndex") for image in content["images"]]
    annotations = content["annotations"]
    image_id = _column(annotations, "image_id", name, "annotation", dtype=np.int64)
    named = [annotation for annotation in annotations if "id" in annotation]
    _refuse_repeated(_column(named, "id", name, "annotation", dtype=np.int64), "annotations", name)
    categories = _keypoint_categories(content, name, joints)
    category = _column(annotations, "category_id", name, "annotation", dtype=np.int64, default=categories[0])
    wanted = np.isin(image_id, ids) & np.isin(category, categories)
    blank = [0] * (3 * joints)
    # Some files give no joints to a crowd, which is one region, or to a person without labels.
    people = [
        {**a, "keypoints": blank} if _is_unlabeled(a) and not len(a.get("keypoints", ())) else a
        for a, take in zip(annotations, wanted.tolist(), strict=True)
        if take
    ]
    table = _table(people, "keypoints", 3 * joints, name, "annotation").reshape(-1, joints, 3)
    box = _table(people, "bbox", 4, name, "annotation")
    of_box = (area_of_box or AREA_OF_BOX) * box[:, 2] * box[:, 3]
    if area_of_box:
        area = of_box
    else:
        lacking = np.array(["area" not in person for person in people], dtype=bool)
        if lacking.any():
            _warn_of_areas(name, int(lacking.sum()), len(people))
        area = np.where(lacking, of_box, _column(people, "area", name, "annotation", default=0))
    crowd = np.array([bool(person.get("iscrowd", 0)) for person in people], dtype=bool)
    given = _column(people, "num_keypoints", name, "annotation", default=-1)
    labeled = np.where(given < 0, (table[..., 2] > 0).sum(1), given)
    image = np.searchsorted(ids[order], image_id[wanted])
    by_image = np.argsort(image, kind="stable")
    return GroundTruth(
        name=name,
        image_ids=ids[order],
        crowd_index=np.array([c if isinstance(c, int | float) else np.nan for c in crowd_index])[order],
        categories=categories,
        image=image[by_image], category=category[wanted][by_image], joints=table[by_image], box=box[by_image],
        area=area[by_image], crowd=crowd[by_image],
        # As in the COCO tools, the 'ignore' field of a file has no effect.
        ignore=(crowd | (labeled == 0))[by_image],
    )  # fmt: skip


def _is_unlabeled(annotation: dict[str, Any]) -> bool:
    """Return whether an annotation needs no joints."""
    return bool(annotation.get("iscrowd")) or (annotation.get("num_keypoints") == 0 and "keypoints" in annotation)


def _refuse_repeated(ids: Array, what: str, name: str) -> None:
    """Raise a DataError if an id repeats."""
    if len(np.unique(ids)) < len(ids):
        first, times = next(each for each in Counter(ids.tolist()).items() if each[1] > 1)
        raise DataError(f"{name}: {times} {what} have the id {first}; give each its own")


@cache
def _warn_of_areas(name: str, lacking: int, total: int) -> None:
    """Warn, once for each file, that areas are computed."""
    _log.warning(
        "%s: %d of %d annotations have no 'area'; OKS uses %g of the box's area for them",
        name, lacking, total, AREA_OF_BOX,
    )  # fmt: skip


def read_detections(source: Source, truth: GroundTruth, *, max_detections: int) -> Detections:
    """Read results on the images of ``truth``, the ``max_detections`` best of each image and category.

    As in the COCO tools, results of a category that the ground truth does not have are ignored, and an entry's area
    is that of its ``bbox`` if entries have one, else that of the box around all its keypoints. An entry without a
    category belongs to the first.
    """
    name = f"detections {source}" if isinstance(source, str | Path) else "the predictions"
    image_id, category, score, points, boxes = _results(source, truth, name)
    _refuse_far(points, source, name)
    unknown = np.setdiff1d(image_id, truth.image_ids)
    if len(unknown):
        raise DataError(
            f"{name}: {len(unknown)} images are not in the ground truth, for example {unknown[:5].tolist()}; "
            "give the results of the same split"
        )
    known = np.isin(category, truth.categories)
    if len(category) and not known.any():
        raise DataError(
            f"{name}: no entry has a keypoint category of the ground truth (category_id {list(truth.categories)}); "
            f"the entries have {np.unique(category)[:5].tolist()}"
        )
    if boxes is not None:
        _refuse_far(boxes, source, name)
        area = boxes[:, 2:].prod(1)
    else:
        area = np.ptp(points, axis=1).prod(1) if len(points) else np.zeros(0)
    image = np.searchsorted(truth.image_ids, image_id)
    order = np.lexsort((-score, image, category))
    order = order[known[order]]
    group = np.searchsorted(truth.categories, category[order]) * len(truth.image_ids) + image[order]
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    kept = order[rank < max_detections]
    return Detections(image[kept], category[kept], points[kept], score[kept], area[kept])


def _results(source: Source, truth: GroundTruth, name: str) -> tuple[Array, Array, Array, Array, Array | None]:
    """Return image ids and categories ``(N,)``, scores, points ``(N, K, 2)`` and boxes ``(N, 4)``, if there are any."""
    joints, first = truth.joints.shape[1], truth.categories[0]
    if isinstance(source, str | Path | list | tuple):
        columns = columns_of(Path(source) if isinstance(source, str) else source, joints, first)
        if columns is not None:
            points = columns.keypoints[..., :2]
            return columns.image_id, columns.category, columns.score, points, columns.boxes
    # Slower, but whatever is wrong with an entry is told.
    content, _ = read_source(source, "detections")
    if not isinstance(content, list | tuple):
        raise DataError(f"{name} must be a list of {{image_id, category_id, keypoints, score}}")
    image_id = _column(content, "image_id", name, "entry", dtype=np.int64)
    score = _column(content, "score", name, "entry")
    points = _table(content, "keypoints", 3 * joints, name, "entry", finite=(0, 1)).reshape(-1, joints, 3)[..., :2]
    category = _column(content, "category_id", name, "entry", dtype=np.int64, default=first)
    boxes = _table(content, "bbox", 4, name, "entry") if content and content[0].get("bbox") else None
    return image_id, category, score, points, boxes


def read_poses(source: Source, what: str = "results file") -> tuple[Array, Array, Array]:
    """Read results of any joint set: image ids ``(N,)``, keypoints ``(N, K, 3)`` x, y, score, and scores ``(N,)``.

    All entries must have as many joints as the first. A joint's position or score may be NaN.
    """
    content, name = read_source(source, what)
    if not isinstance(content, list | tuple):
        raise DataError(f"{name} must be a list of {{image_id, category_id, keypoints, score}}")
    if not content:
        raise DataError(f"{name} is an empty list: nobody was found")
    image_id = _column(content, "image_id", name, "entry", dtype=np.int64)
    score = _column(content, "score", name, "entry")
    first = content[0].get("keypoints")
    if not isinstance(first, list | tuple) or not first or len(first) % 3:
        raise DataError(f"{name}: entry 0 has no 'keypoints', a list of x, y, score for each joint")
    points = _table(content, "keypoints", len(first), name, "entry", finite=()).reshape(len(content), -1, 3)
    _refuse_far(points, source, name)
    return image_id, points, score


def _refuse_far(values: Array, source: Source, name: str) -> None:
    """Raise a DataError for coordinates of a file that no image has."""
    far = np.abs(values) > FARTHEST
    if isinstance(source, str | Path) and far.any():
        row = int(np.flatnonzero(far.reshape(len(values), -1).any(1))[0])
        raise DataError(f"{name}: entry {row} has a coordinate beyond {FARTHEST:.0f} pixels; predict again")


def _keypoint_categories(content: dict[str, Any], name: str, joints: int) -> tuple[int, ...]:
    """Return the ids of the categories with ``joints`` keypoints; of those with any, or of all, if none has."""
    listed = content.get("categories") or [{"id": a.get("category_id", 1)} for a in content["annotations"]]
    _column(listed, "id", name, "category", dtype=np.int64)
    chosen = [category for category in listed if category.get("keypoints")] or listed
    chosen = [category for category in chosen if len(category.get("keypoints", ())) == joints] or chosen
    return tuple(np.unique(_column(chosen, "id", name, "category", dtype=np.int64)).tolist()) or (1,)


def _column(
    entries: Sequence[Any], key: str, name: str, word: str, *, dtype: type = np.float64, default: int | None = None
) -> Array:
    """Return one number of each entry, ``(N,)``, an integer if ``dtype`` is one; ``default`` for entries without."""
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
    """Return ``size`` numbers of each entry, ``(N, size)``.

    All must be finite or, if ``finite`` is given, those at these indices of each x, y, score triple.
    """
    try:
        table = _numbers([entry[key] for entry in entries], size, dtype)
    except (KeyError, IndexError, TypeError):
        table = None
    if table is not None and np.isfinite(table if finite is None else table.reshape(-1, 3)[:, finite]).all():
        return table
    for row, entry in enumerate(entries):
        fault = _fault(entry, key, size, dtype, finite)
        if fault:
            label = entry.get("id", row) if isinstance(entry, dict) and word != "entry" else row
            raise DataError(f"{name}: {word} {label} {fault}")
    raise DataError(f"{name} must have a list of mappings, with '{key}' for every {word}")


def _numbers(values: Sequence[Any], size: int, dtype: type) -> Array | None:
    """Return ``size`` numbers of each value, ``(N, size)``; None if one does not consist of so many."""
    if size == 1:
        cells: Iterable[Any] = values
    else:
        values = [value.ravel().tolist() if isinstance(value, np.ndarray) else value for value in values]
        if not (set(map(type, values)) <= {list, tuple} and set(map(len, values)) <= {size}):
            return None
        cells = chain.from_iterable(values)
        if not _are_numbers(set(map(type, chain.from_iterable(values)))):
            return None
    if dtype is np.int64:
        if not set(map(type, values)) <= {int}:
            values = [whole_number(value) for value in values]
            if None in values:
                return None
        cells = values
    elif size == 1 and not _are_numbers(set(map(type, values))):
        return None
    try:
        return np.fromiter(cells, dtype, count=len(values) * size).reshape(len(values), size)
    except OverflowError:  # an integer of too many digits
        return None


def _are_numbers(kinds: Set[type]) -> bool:
    """Return whether values of these types are numbers; a bool, or a text with digits, is none."""
    return all(kind is not bool and issubclass(kind, int | float | np.integer | np.floating) for kind in kinds)


def _fault(entry: Any, key: str, size: int, dtype: type, finite: tuple[int, ...] | None) -> str:
    """Return a description of what is wrong with ``entry[key]``, or an empty string."""
    if not isinstance(entry, dict):
        return f"is not a mapping but {shown(entry)}"
    if key not in entry:
        return f"has no '{key}'"
    value = entry[key]
    if size > 1:
        value = value.ravel().tolist() if isinstance(value, np.ndarray) else value
        if not isinstance(value, list | tuple) or len(value) != size:
            count = len(value) if isinstance(value, list | tuple) else "no"
            hint = "; a joint set other than COCO's needs its own sigmas" if key == "keypoints" else ""
            return f"has {count} {key.removesuffix('s')} numbers, expected {size}{hint}"
    numbers = _numbers([value], size, dtype)
    if numbers is None:
        kind = "numbers" if size > 1 else "an integer" if dtype is np.int64 else "a number"
        return f"has {shown(value)} as '{key}', which is not {kind}"
    checked = numbers if finite is None else numbers.reshape(-1, 3)[:, finite]
    return "" if np.isfinite(checked).all() else f"has a '{key}' that is not a finite number"
