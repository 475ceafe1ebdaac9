"""The images and people of a COCO-style annotation file, every entry checked, as columns.

Training and evaluation read files through this module, so that what one refuses the other refuses.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from pose_core.data.diagnostics import Kind, Problems
from pose_core.data.numbers import FAR, is_number, whole_number
from pose_core.data.regions import is_region
from pose_core.errors import DataError
from pose_core.reading.json_text import stream_json
from pose_core.reading.names import check_name
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton

Array = np.ndarray

AREA_OF_BOX = 0.53
"""CrowdPose annotates no areas; its evaluator takes this fraction of the box's area, and so do files without areas."""
LARGEST_AREA = FAR**2
"""Largest area of a person in square pixels."""
_ADDED = ...
"""Stands in a list for an entry whose columns were added."""
_NUMBERS = frozenset({int, float})
_UNSTATED = -(2**63)
"""Stands in a column for what an entry does not state; no id is as low."""


@dataclass(frozen=True)
class CocoFile:
    """The I images of a file, and its P people of the keypoint categories, both in the file's order."""

    categories: tuple[int, ...]
    image_ids: Array
    """``(I,)`` int64."""
    file_names: list[str | None]
    size: Array
    """``(I, 2)`` int64: width and height."""
    crowd_index: Array
    """``(I,)`` float64; NaN if the file has none."""
    ids: Array
    """``(P,)`` int64: annotation ids, like the following columns."""
    image: Array
    """Rows of ``image_ids``."""
    category: Array
    joints: Array
    """``(P, K, 3)`` float64."""
    box: Array
    """``(P, 4)`` float64: x, y, w, h."""
    area: Array
    """NaN where the file states none."""
    labeled: Array
    """The stated number of labeled joints, else their count."""
    crowd: Array
    """``(P,)`` bool."""
    regions: Mapping[int, object]
    """Segmentations by row, of crowds and people without labeled joints; empty unless requested."""


def area_of_boxes(content: CocoFile, area_of_box: float | None) -> Array:
    """Return areas ``(P,)``: that fraction of the box's if it is given, else the stated ones, or `AREA_OF_BOX`."""
    computed: Array = (area_of_box or AREA_OF_BOX) * content.box[:, 2] * content.box[:, 3]
    return computed if area_of_box else np.where(np.isnan(content.area), computed, content.area)


def read_coco_file(
    file: Path,
    problems: Problems,
    joints: int,
    skeleton: Skeleton | None = None,
    *,
    regions: bool = False,
    what: str = "annotation file",
    lists: tuple[str, ...] = ("images",),
) -> CocoFile:
    """Read and check a file; ``lists`` must be in it. See `check_coco`."""
    for _ in range(2):  # a file system that was away for a moment makes stream_json start again
        columns = _Columns(joints, skeleton, keeps_regions=regions)
        shrink = {"images": columns.add_image, "annotations": columns.add_annotation}
        content = stream_json(file, shrink, what, numbers="keypoints")
        if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in lists):
            needed = " and ".join(f"'{key}'" for key in lists)
            raise DataError(f"{file} is not a COCO annotation file: it needs a list {needed}")
        if columns.images == _added(content, "images") and len(columns.ids) == _added(content, "annotations"):
            return _finish(content, columns, file, problems)
    raise DataError(f"{file} has a list 'images' or 'annotations' twice; remove one")


def check_coco(
    content: object,
    file: Path,
    problems: Problems,
    joints: int,
    skeleton: Skeleton | None = None,
    *,
    regions: bool = False,
) -> CocoFile:
    """Return the images and people of a COCO mapping.

    ``joints`` is their number; with a ``skeleton``, the file's joints must be in its order. Entries at fault are
    reported to ``problems`` in the order of the file and left out. ``regions`` keeps segmentations.
    """
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{file} is not a COCO annotation file: it needs a list 'images'")
    columns = _Columns(joints, skeleton, keeps_regions=regions)
    for key, add in (("images", columns.add_image), ("annotations", columns.add_annotation)):
        if isinstance(content.get(key), list):
            entries = [add(entry) if isinstance(entry, dict) else entry for entry in content[key]]
            content = {**content, key: entries}
    return _finish(content, columns, file, problems)


def _added(content: dict[str, Any], key: str) -> int:
    """Return how many entries of a list were objects."""
    entries = content.get(key)
    return sum(entry is _ADDED for entry in entries) if isinstance(entries, list) else 0


def _finish(content: dict[str, Any], columns: _Columns, file: Path, problems: Problems) -> CocoFile:
    if not isinstance(content.get("annotations", []), list):
        raise DataError(f"{file} is not a COCO annotation file: 'annotations' is not a list")
    categories = _person_categories(content.get("categories"), file, columns.joints, columns.skeleton)
    return columns.finish(content, categories, file, problems)


def _person_categories(listed: object, file: Path, joints: int, skeleton: Skeleton | None) -> tuple[int, ...]:
    """Return the ids of the categories whose keypoints are the skeleton's joints."""
    if not listed:
        return (1,)
    if not isinstance(listed, list):
        raise DataError(f"{file} is not a COCO annotation file: 'categories' is not a list")
    for position, each in enumerate(listed):
        if not isinstance(each, dict) or whole_number(each.get("id")) is None:
            raise DataError(f"{file}: entry {position} of 'categories' has no integer 'id'")
        names = each.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{file}: 'keypoints' of category {each['id']} must be a list of the joints' names")
    ids = [int(each["id"]) for each in listed]
    repeated = next((one for one in ids if ids.count(one) > 1), None) if len(set(ids)) < len(ids) else None
    if repeated is not None:
        raise DataError(f"{file}: two categories have the id {repeated}; give each its own")
    named = [each for each in listed if each.get("keypoints")]
    fitting = [each for each in named if len(each["keypoints"]) == joints]
    if named and not fitting:
        counts = ", ".join(f"{shown(each.get('name'))} has {len(each['keypoints'])}" for each in named)
        wanted = f"the skeleton {skeleton.name!r} has {joints}" if skeleton else f"expected are {joints}"
        raise DataError(
            f"{file}: {wanted} joints, but category {counts}; set data.skeleton (pose data: --skeleton) to the "
            "joint set of this file, which `pose data new-skeleton` writes"
        )
    for each in fitting if skeleton else ():
        names = each["keypoints"]
        if skeleton and sorted(names) == sorted(skeleton.joints) and tuple(names) != skeleton.joints:
            raise DataError(
                f"{file}: category {shown(each.get('name'))} holds the joints of skeleton {skeleton.name!r} in another "
                f"order ({', '.join(names)}); set data.skeleton (pose data: --skeleton) to a YAML file that "
                "lists them in this order"
            )
    # Files whose categories have no keypoints (image_info lists all eighty) use the person category, 1.
    return tuple(sorted(int(each["id"]) for each in fitting)) or (1,)


class _Columns:
    """Collects the entries of a file one by one; what is wrong with one is kept until its category is known."""

    def __init__(self, joints: int, skeleton: Skeleton | None, *, keeps_regions: bool) -> None:
        self.joints, self.skeleton, self.keeps_regions = joints, skeleton, keeps_regions
        self.images = 0
        self.image_row: dict[int, int] = {}
        self.file_names: list[str | None] = []
        self.size, self.crowd_index = array("q"), array("d")
        self.image_faults: dict[int, tuple[Kind, str]] = {}
        """What is wrong with an image, by its number."""
        self.ids, self.image_id, self.category = array("q"), array("q"), array("q")
        self.points, self.box, self.area = array("d"), array("d"), array("d")
        self.count, self.crowd = array("q"), array("b")
        self.regions: dict[int, object] = {}
        self.faults: dict[int, tuple[Kind, str]] = {}
        """What is wrong with the entry of a row."""
        self._no_points, self._no_box = array("d", bytes(8 * 3 * joints)), array("d", bytes(8 * 4))

    def add_image(self, entry: dict[str, Any]) -> object:
        """Add an entry of ``images``."""
        number, self.images = self.images, self.images + 1
        fault = self._add_image(entry)
        if fault:
            self.image_faults[number] = fault
        return _ADDED

    def _add_image(self, entry: dict[str, Any]) -> tuple[Kind, str] | None:
        identity = whole_number(entry.get("id"))
        if identity is None:
            return "bad annotation", ""
        if identity in self.image_row:
            return "repeated id", f"two images have the id {identity}; give each its own"
        width, height = entry.get("width"), entry.get("height")
        name, index = entry.get("file_name"), entry.get("crowdIndex")
        fault = ""
        if type(width) is not int or type(height) is not int or not (0 < width <= FAR and 0 < height <= FAR):
            fault = f"no positive integer 'width' and 'height' of at most {FAR:.0f}"
        elif index is not None and not (is_number(index) and 0 <= index <= 1):
            fault = f"the 'crowdIndex' {shown(index)}, which is not a number from 0 to 1"
        if fault:
            return "bad annotation", f"image {identity} has {fault}"
        if name is not None:
            try:
                check_name(name, "the 'file_name'", absolute_too=True)
            except DataError as error:
                return "bad annotation", f"image {identity}: {error}"
        self.image_row[identity] = len(self.file_names)
        self.file_names.append(name)
        self.size.extend((cast(int, width), cast(int, height)))
        self.crowd_index.append(np.nan if index is None else index)
        return None

    def add_annotation(self, entry: dict[str, Any]) -> object:
        """Add an entry of ``annotations``."""
        row, identity = len(self.ids), entry.get("id")
        if type(identity) is not int or abs(identity) >= -_UNSTATED:
            identity = whole_number(identity)
        if identity is None:
            self._fault(row, "")
            identity, entry = _UNSTATED, {}
        self.ids.append(identity)
        self.category.append(self._id(entry, "category_id", row))
        self.image_id.append(self._id(entry, "image_id", row))
        crowd = self._crowd(entry, row)
        self.crowd.append(crowd)
        points = entry.get("keypoints")
        # Some files give no joints to a crowd, which is one region, or to a person without labels.
        is_empty = not isinstance(points, np.ndarray) and not points
        if is_empty and (crowd or (points == [] and entry.get("num_keypoints") == 0)):
            points = [0] * (3 * self.joints)
        self.points += self._points(points, row)
        self.box += self._box(entry.get("bbox"), row)
        self.area.append(self._area(entry, row))
        labeled = self._count(entry, row)
        self.count.append(labeled)
        region = entry.get("segmentation")
        if region:
            if labeled == _UNSTATED:
                labeled = sum(value > 0 for value in self.points[-3 * self.joints :][2::3])
            if crowd or not labeled:
                self._keep_region(region, row)
        return _ADDED

    def _keep_region(self, region: object, row: int) -> None:
        if not is_region(region):
            self._fault(row, "'segmentation' is neither polygons of at least two corners nor run lengths of its size")
        elif self.keeps_regions:
            self.regions[row] = region

    def finish(self, content: dict[str, Any], categories: tuple[int, ...], file: Path, problems: Problems) -> CocoFile:
        """Report what is wrong, and return the rest."""
        _report("images", content["images"], self.image_faults, file, problems)
        ids, category, count = (_column(each, np.int64) for each in (self.ids, self.category, self.count))
        joints = _column(self.points, np.float64).reshape(-1, self.joints, 3)
        box = _column(self.box, np.float64).reshape(-1, 4)
        image = np.array([self.image_row.get(one, -1) for one in self.image_id], dtype=np.int64)
        category = np.where(category == _UNSTATED, categories[0], category)
        wanted = np.isin(category, categories)
        labeled = (joints[..., 2] > 0).sum(1)
        faults = self._faults(wanted, ids, image, joints, box, count, labeled)
        _report("annotations", content.get("annotations", []), faults, file, problems, ids)
        wanted[list(faults)] = False
        places = np.flatnonzero(wanted)
        rows = slice(None) if len(places) == len(ids) else places  # the usual case, without copies
        return CocoFile(
            categories=categories,
            image_ids=np.array(list(self.image_row), dtype=np.int64),
            file_names=self.file_names,
            size=_column(self.size, np.int64).reshape(-1, 2),
            crowd_index=_column(self.crowd_index, np.float64),
            ids=ids[rows], image=image[rows], category=category[rows], joints=joints[rows], box=box[rows],
            area=_column(self.area, np.float64)[rows], crowd=_column(self.crowd, np.int8)[rows] > 0,
            labeled=np.where(count == _UNSTATED, labeled, count)[rows],
            regions={new: self.regions[old] for new, old in enumerate(places.tolist()) if old in self.regions},
        )  # fmt: skip

    def _faults(
        self, wanted: Array, ids: Array, image: Array, joints: Array, box: Array, count: Array, labeled: Array
    ) -> dict[int, tuple[Kind, str]]:
        """Return what is wrong with the entries, by row; of entries of other categories, only repeated ids count."""
        found: dict[int, tuple[Kind, str]] = {}
        for row, number in _repeated(ids).items():
            times = "two" if number == 2 else str(number)
            found[row] = "repeated id", f"{times} annotations have this id; give each its own"
        for row, fault in self.faults.items():
            if wanted[row] or ids[row] == _UNSTATED:
                found.setdefault(row, fault)
        for row in np.flatnonzero((image < 0) & wanted).tolist():
            text = f"image_id {self.image_id[row]} is not among the {len(self.file_names)} images of this file"
            found.setdefault(row, ("unknown image", text))
        visibility = joints[..., 2]
        limit = f"a finite number within ±{FAR:.0f} pixels"
        for rows, text in (
            (~_within(joints[..., :2]), f"'keypoints' holds a coordinate that is not {limit}"),
            (
                ~((visibility == 0) | (visibility == 1) | (visibility == 2)).all(1),
                "'keypoints' holds a visibility that is not 0, 1 or 2",
            ),
            (~_within(box), f"'bbox' holds a value that is not {limit}"),
            ((box[:, 2:] < 0).any(1), "'bbox' has a negative width or height"),
        ):
            for row in np.flatnonzero(rows & wanted).tolist():
                found.setdefault(row, ("bad annotation", text))
        # CrowdPose's own files, the ones with crowd indices, count fewer joints than they label.
        if not np.isfinite(_column(self.crowd_index, np.float64)).any():
            for row in np.flatnonzero((count != labeled) & (count != _UNSTATED) & wanted).tolist():
                text = f"'num_keypoints' is {count[row]}, but {labeled[row]} joints are labeled; correct or remove it"
                found.setdefault(row, ("bad annotation", text))
        return found

    def _fault(self, row: int, text: str, kind: Kind = "bad annotation") -> None:
        self.faults.setdefault(row, (kind, text))

    def _id(self, entry: dict[str, object], key: str, row: int) -> int:
        value = entry.get(key)
        if type(value) is int and -_UNSTATED > value > _UNSTATED:
            return value
        whole = whole_number(value)
        if whole is None:
            if key == "image_id" or value is not None:
                has = f"the {key} {shown(value)}, which is not an integer" if key in entry else f"no '{key}'"
                self._fault(row, f"it has {has}")
            return _UNSTATED
        return whole

    def _crowd(self, entry: dict[str, object], row: int) -> int:
        value = entry.get("iscrowd", 0)
        if type(value) in (int, bool) and value in (0, 1):
            return int(value)
        self._fault(row, f"'iscrowd' is {shown(value)}, expected 0 or 1")
        return 0

    def _points(self, values: object, row: int) -> array[float]:
        if isinstance(values, np.ndarray):  # from a file, parsed as numbers
            if len(values) == 3 * self.joints:
                return array("d", values.tobytes())
            values = values.tolist()
        if not isinstance(values, list) or len(values) != 3 * self.joints:
            have = f"{len(values)} keypoint numbers" if isinstance(values, list) else "no list 'keypoints'"
            name = f"skeleton {self.skeleton.name!r} has" if self.skeleton else "expected are"
            self._fault(
                row,
                f"{have}, but {name} {self.joints} joints ({3 * self.joints} numbers: x, y, visibility); correct the "
                "file or set data.skeleton (pose data: --skeleton)",
                "wrong joint count",
            )
            return self._no_points
        if _NUMBERS.issuperset(map(type, values)):
            try:
                return array("d", values)
            except OverflowError:  # an integer of hundreds of digits
                pass
        self._fault(row, "'keypoints' holds a value that is not a finite number")
        return self._no_points

    def _box(self, values: object, row: int) -> array[float]:
        if isinstance(values, list) and len(values) == 4 and _NUMBERS.issuperset(map(type, values)):
            try:
                return array("d", values)
            except OverflowError:
                pass
        self._fault(row, "a person needs a 'bbox' of four numbers")
        return self._no_box

    def _area(self, entry: dict[str, object], row: int) -> float:
        if "area" not in entry:
            return np.nan
        value = entry["area"]
        if is_number(value) and 0 <= value <= LARGEST_AREA:
            return value
        self._fault(row, f"'area' is {shown(value)}, expected a number from 0 to {LARGEST_AREA:g}")
        return np.nan

    def _count(self, entry: dict[str, object], row: int) -> int:
        value = entry.get("num_keypoints")
        if value is None:
            return _UNSTATED
        if type(value) is int and 0 <= value <= self.joints:
            return value
        self._fault(row, f"'num_keypoints' is {shown(value)}, expected an integer from 0 to {self.joints}")
        return _UNSTATED


def _report(
    key: str,
    entries: Sequence[object],
    faults: Mapping[int, tuple[Kind, str]],
    file: Path,
    problems: Problems,
    ids: Array | None = None,
) -> None:
    """Report the faults of a list in its order; ``faults`` has them by their number among the entries added."""
    numbers = [place for place, entry in enumerate(entries) if entry is _ADDED]
    found = {numbers[number]: (*fault, number) for number, fault in faults.items()}
    for place in set(range(len(entries))).difference(numbers) if len(numbers) < len(entries) else ():
        found[place] = "bad annotation", "", -1
    for place, (kind, text, number) in sorted(found.items()):
        nameless = f"entry {place} of {key!r} has no integer 'id'"
        problems.stop(kind, file, text or nameless, int(ids[number]) if text and ids is not None else None)


def _column(values: Sequence[float], dtype: type) -> Array:
    """Return the numbers of an array that does not grow any more, without a copy."""
    return np.frombuffer(values, dtype) if len(values) else np.zeros(0, dtype)  # type: ignore[call-overload]


def _within(values: Array) -> Array:
    """Return which rows hold finite numbers within `FAR` only."""
    axes = tuple(range(1, values.ndim))
    inside: Array = (values.min(axes) >= -FAR) & (values.max(axes) <= FAR)  # both false for NaN
    return inside


def _repeated(ids: Array) -> dict[int, int]:
    """Return the rows whose id an earlier row has, with the number of rows that have it."""
    values, first, counts = np.unique(ids, return_index=True, return_counts=True)
    again = np.setdiff1d(np.flatnonzero(ids != _UNSTATED), first, assume_unique=True)
    numbers = counts[np.searchsorted(values, ids[again])]
    return dict(zip(again.tolist(), numbers.tolist(), strict=True))
