"""Label Studio's JSON export: what its users have drawn on each image. Predictions that nobody has accepted are not.

See `label_studio` for how people and joints are drawn, and for the coordinates. A point that was not drawn inside a
person's region in the tool's tree belongs to the rectangle that a relation names, or else to the only one around it
that lacks this joint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from pose_core.data.coco_file import AREA_OF_BOX
from pose_core.data.numbers import FAR, is_number, number_list, whole_number
from pose_core.data.sources import image_source
from pose_core.errors import DataError
from pose_core.layouts.formats.format import Found, skeleton_of
from pose_core.layouts.formats.label_studio import HIDDEN
from pose_core.layouts.formats.labeled import LabeledImage, LabeledPerson
from pose_core.layouts.formats.people import Box, box_around
from pose_core.reading.json_text import read_json
from pose_core.reading.names import check_name
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Entry = Mapping[str, Any]
Array = np.ndarray


def is_export(content: object) -> bool:
    """Return whether the content of a JSON file is a list of Label Studio's tasks."""
    return isinstance(content, list) and all(isinstance(task, dict) and "data" in task for task in content)


def read_export(content: object, file: Path, joints: Sequence[str]) -> list[LabeledImage]:
    """Return the images of an export that somebody has annotated, and the people there with the ``joints``."""
    images = []
    for number, task in enumerate(_tasks(content, file)):
        where = f"{file}: task {shown(task.get('id', number))}"
        result = _annotation(task, where)
        if result is not None:
            size = _size(result, where)
            people = _People(where, joints, size).read(result) if result else ()
            images.append(LabeledImage(_image_name(task["data"], where), size, people))
    return images


def read_label_studio(path: Path, split: str, skeleton: Skeleton | None) -> Found:
    """Read an export as records; names of images are paths beside the file. Joints are in the order they come in."""
    content = read_json(path)
    notes: tuple[str, ...] = ()
    if skeleton is None:
        skeleton = skeleton_of("person", _joint_labels(content, path))
        notes = (f"joints without a label, if there are any beside these {skeleton.num_joints} (--from-skeleton)",)
    records, number = [], 0
    for identity, image in enumerate(read_export(content, path, skeleton.joints), 1):
        people = []
        for person in image.people:
            number += 1
            joints = person.joints.astype(np.float32)
            box = person.box or box_around(joints, image.size)
            people.append(Person(joints, number, box, AREA_OF_BOX * box[2] * box[3], stated_box=box))
        source = image_source(path.parent, image.name)
        records.append(ImageRecord(identity, source, tuple(people), *image.size))
    return Found(tuple(records), skeleton, notes)


def _tasks(content: object, file: Path) -> list[Entry]:
    if not isinstance(content, list) or not is_export(content):
        raise DataError(f"{file} is not an export of Label Studio: it must be a list of tasks with 'data'; export JSON")
    return content


def _joint_labels(content: object, file: Path) -> list[str]:
    """Return the names of all points of an export, in the order in which they first come."""
    results = [_annotation(task, str(file)) or [] for task in _tasks(content, file)]
    names = [name for result in results for region in result for name in _labels(region, "keypointlabels")]
    if not names:
        raise DataError(f"{file} has no point of a person; name the joints with --from-skeleton")
    return list(dict.fromkeys(names))


def _annotation(task: Entry, where: str) -> list[Entry] | None:
    """Return the regions of a task's latest annotation, or None if nobody has made one."""
    given = task.get("annotations", task.get("completions", []))
    found = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    found = [one for one in found if isinstance(one.get("result"), list) and not one.get("was_cancelled")]
    if not found:
        return None
    # Those of equal time, or without any, are in the order in which they were made.
    latest = max(enumerate(found), key=lambda each: (str(each[1].get("updated_at", "")), each[0]))[1]
    regions = latest["result"]
    if not all(isinstance(region, dict) for region in regions):
        raise DataError(f"{where}: 'result' must be a list of objects; export JSON again")
    return list(regions)


def _image_name(data: object, where: str) -> str:
    """Return the path of a task's image: ``a/b.jpg`` of ``/data/local-files/?d=a/b.jpg`` or of ``s3://bucket/a/b.jpg``."""
    addresses = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    address = data["image"] if isinstance(data, dict) and isinstance(data.get("image"), str) else None
    if address is None and len(addresses) == 1:
        address = addresses[0]
    if address is None:
        raise DataError(f"{where}: 'data' has no 'image', the address of the picture; name it so in the project")
    try:
        parts = urlsplit(address)
        name = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    except ValueError:
        raise DataError(f"{where}: the image's address {shown(address)} is not valid") from None
    return check_name(name.lstrip("/"), f"{where}: image name")


def _size(result: Sequence[Entry], where: str) -> tuple[int, int]:
    """Return the image's width and height, which every region states."""
    sizes = {
        (whole_number(region.get("original_width")), whole_number(region.get("original_height")))
        for region in result
        if region.get("type") in ("rectanglelabels", "keypointlabels")
    }
    if not sizes:
        return 0, 0
    width, height = next(iter(sizes))
    if len(sizes) > 1 or width is None or height is None or not (0 < width <= FAR and 0 < height <= FAR):
        raise DataError(f"{where}: 'original_width' and 'original_height' must be the image's size in every region")
    return width, height


def _labels(region: Entry, key: str) -> list[str]:
    value = region.get("value")
    labels = value.get(key) if isinstance(value, dict) and region.get("type") == key else None
    return [name for name in labels if isinstance(name, str)] if isinstance(labels, list) else []


class _People:
    """Puts the points of one image's annotation into its rectangles."""

    def __init__(self, where: str, joints: Sequence[str], size: tuple[int, int]) -> None:
        self.where, self.joints, self.size = where, {name: number for number, name in enumerate(joints)}, size
        self.boxes: dict[str, Box] = {}
        self.points: dict[str, Array] = {}

    def read(self, result: Sequence[Entry]) -> tuple[LabeledPerson, ...]:
        """Return the people."""
        for region in result:
            if region.get("type") == "rectanglelabels":
                name = self._id(region)
                self.boxes[name] = self._rectangle(region)
                self.points[name] = np.zeros((len(self.joints), 3))
        hidden = {self._id(region) for region in result if HIDDEN in _labels(region, "choices")}
        related = self._relations(result)
        points = [region for region in result if region.get("type") == "keypointlabels"]
        if not self.boxes and points:  # one person without a rectangle
            self.points[""] = np.zeros((len(self.joints), 3))
        # Points that name their person come first: a rectangle then has the other joints left.
        named = {id(region): self._named(region, related) for region in points}
        for region in sorted(points, key=lambda each: named[id(each)] is None):
            joint, place = self._point(region)
            person = named[id(region)]
            person = self._around(joint, place) if person is None else person
            if self.points[person][joint, 2]:
                text = f"has two points {shown(self._name(joint))}; delete one, or move it into another person's region"
                raise DataError(f"{self.where}: person {shown(person)} {text}")
            self.points[person][joint] = *place, 1 if self._id(region) in hidden else 2
        return tuple(LabeledPerson(found, self.boxes.get(name)) for name, found in self.points.items())

    def _id(self, region: Entry) -> str:
        name = region.get("id")
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{self.where}: a region of type {shown(region.get('type'))} has no 'id'; export JSON again"
            )
        return name

    def _name(self, joint: int) -> str:
        return list(self.joints)[joint]

    def _numbers(self, region: Entry, *keys: str) -> Array:
        """Return numbers of a region's value, which are percents of the image's size, in pixels."""
        value = region.get("value")
        numbers = number_list([value.get(key) for key in keys]) if isinstance(value, dict) else None
        if numbers is None:
            raise DataError(f"{self.where}: region {shown(region.get('id'))} needs {', '.join(keys)}, in percent")
        pixels = numbers * np.tile(self.size, len(keys) // 2) / 100
        if np.abs(pixels).max() > FAR:
            raise DataError(f"{self.where}: region {shown(region.get('id'))} is more than {FAR:.0f} pixels away")
        return np.asarray(pixels)

    def _rectangle(self, region: Entry) -> Box:
        x, y, w, h = self._numbers(region, "x", "y", "width", "height").tolist()
        rotation = region["value"].get("rotation") or 0
        if not is_number(rotation) or rotation or min(w, h) < 0:
            raise DataError(f"{self.where}: rectangle {shown(region.get('id'))} is rotated; draw it upright")
        return x, y, w, h

    def _point(self, region: Entry) -> tuple[int, Array]:
        names = _labels(region, "keypointlabels")
        if len(names) != 1 or names[0] not in self.joints:
            raise DataError(
                f"{self.where}: point {shown(region.get('id'))} has the labels {shown(names)}, expected one of "
                f"{', '.join(self.joints)}"
            )
        return self.joints[names[0]], self._numbers(region, "x", "y")

    def _relations(self, result: Sequence[Entry]) -> dict[str, str]:
        """Return, by point, the rectangle that a relation connects it with, whichever way."""
        found = {}
        for region in result:
            if region.get("type") == "relation":
                ends = region.get("from_id"), region.get("to_id")
                for point, box in (ends, ends[::-1]):
                    if (
                        isinstance(box, str)
                        and isinstance(point, str)
                        and box in self.boxes
                        and point not in self.boxes
                    ):
                        found[point] = box
        return found

    def _named(self, region: Entry, related: Mapping[str, str]) -> str | None:
        parent = region.get("parentID")
        if isinstance(parent, str) and parent in self.boxes:
            return parent
        return related.get(self._id(region), None if self.boxes else "")

    def _around(self, joint: int, place: Array) -> str:
        x, y = place.tolist()
        around = [
            name
            for name, (left, top, w, h) in self.boxes.items()
            if left <= x <= left + w and top <= y <= top + h and not self.points[name][joint, 2]
        ]
        if len(around) != 1:
            text = f"{len(around)} rectangles that lack it are around it" if around else "no rectangle is around it"
            raise DataError(
                f"{self.where}: whose {shown(self._name(joint))} at {x:.0f}, {y:.0f} is, is not clear ({text}); drag "
                "the point into its person's region in Label Studio's list of regions"
            )
        return around[0]
