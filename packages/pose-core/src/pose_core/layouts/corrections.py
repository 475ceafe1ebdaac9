"""Take corrected labels back: the people of corrected images replace those of an annotation file.

Annotation tools renumber images, people and categories, so images are matched by their names, joints by theirs, and
people by where they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pose_core.data.category_skeleton import named_categories
from pose_core.data.coco_file import AREA_OF_BOX, check_coco
from pose_core.data.diagnostics import Problems
from pose_core.errors import DataError
from pose_core.files import write_json
from pose_core.layouts.corrected_files import read_contents, read_images
from pose_core.layouts.formats.labeled import LabeledImage, LabeledPerson
from pose_core.layouts.formats.people import Box, box_around
from pose_core.layouts.merge import read_lists
from pose_core.layouts.same_person import match_people
from pose_core.plurals import counted
from pose_core.reading.json_text import collector_paused
from pose_core.reading.printable import shown

Array = np.ndarray
Entry = dict[str, Any]

TOLERANCE = 0.05
"""Pixels by which a joint moves if a tool rounds coordinates: those of such joints are kept as they were."""
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""


@dataclass(frozen=True)
class ImageChange:
    """What became of the people of one image."""

    name: str
    changed: int = 0
    added: int = 0
    removed: int = 0
    same: int = 0
    joints: int = 0
    """Joints that were moved, labeled, hidden or removed, of people who were there before."""

    def __str__(self) -> str:
        people = [f"{n} {what}" for n, what in self._counts() if n]
        moved = f", {counted(self.joints, 'joint')} moved" if self.joints else ""
        return f"{self.name}: {', '.join(people) or 'nobody before and after'}{moved}"

    def _counts(self) -> tuple[tuple[int, str], ...]:
        return (self.changed, "changed"), (self.added, "added"), (self.removed, "removed"), (self.same, "as before")


@dataclass(frozen=True)
class Corrections:
    """The changes of every corrected image; ``str`` is a line for each, and their sum."""

    file: Path
    images: int
    changes: tuple[ImageChange, ...]
    joints: tuple[str, ...]

    def __str__(self) -> str:
        changed, added, removed, joints = (
            sum(getattr(change, key) for change in self.changes) for key in ("changed", "added", "removed", "joints")
        )
        emptied = sum(change.removed > 0 and not change.changed + change.added + change.same for change in self.changes)
        lines = [*map(str, self.changes)]
        lines.append(
            f"written: {self.file}, {counted(self.images, 'image')}, of which {len(self.changes)} corrected: "
            f"{counted(changed, 'person', 'people')} changed, {added} added, {removed} removed, "
            f"{counted(joints, 'joint')} moved"
        )
        if emptied:
            lines.append(
                f"{counted(emptied, 'image')} had people and {'has' if emptied == 1 else 'have'} none in the corrected "
                "files: if nobody has looked at them, export the finished images only"
            )
        return "\n".join(lines)


def merge_corrections(into: Path, corrected: Sequence[Path], out: Path) -> Corrections:
    """Write the annotations of ``into`` with the people of each corrected image in place of those there.

    Crowds, people without labeled joints, entries of other categories, and all images that no corrected file has stay
    as they are. A person who was there before keeps what the tools do not hold: id, outline, and the box where the tool
    has none. An image of two corrected files has the people of the last one.
    """
    if out.resolve() in {file.resolve() for file in (into, *corrected)}:
        raise DataError(f"{out} is one of the files to merge; name another file to write")
    with collector_paused():
        original = _Original(into)
        images: dict[int, LabeledImage] = {}
        for file in corrected:
            for content, place in read_contents(file):
                for image in read_images(content, place, original.joints):
                    images[original.find(image, place)] = image
        changes = original.correct(images)
        write_json(out, original.content)
    return Corrections(out, len(original.content["images"]), changes, original.joints)


class _Original:
    """The content of the file to correct, and where its images and people are."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.content = read_lists(file)
        names = {tuple(category["keypoints"]) for category in named_categories(self.content, file)}
        if len(names) > 1:
            raise DataError(f"{file}: its categories differ in their joints; only one joint set can be corrected")
        self.joints: tuple[str, ...] = next(iter(names))
        self.coco = check_coco(self.content, file, Problems(), len(self.joints))
        self.by_name: dict[str, list[int]] = {}
        for row, name in enumerate(self.coco.file_names):
            self.by_name.setdefault(PurePosixPath(name or "").name, []).append(row)

        self.people: dict[int, list[int]] = {}
        for number in np.flatnonzero(~self.coco.crowd).tolist():
            self.people.setdefault(int(self.coco.image[number]), []).append(number)

    def find(self, image: LabeledImage, file: Path) -> int:
        """Return the row of an image, found by its name; where several have it, by the folders before it, too."""
        parts = PurePosixPath(image.name).parts
        last = parts[-1] if parts else ""
        rows = [row for name in (last, _UPLOADED.sub("", last)) for row in self.by_name.get(name, ())]
        exact = [row for row in rows if self.coco.file_names[row] == image.name]
        rows = list(dict.fromkeys(exact or rows))
        if len(rows) > 1:
            rows = [row for row in rows if _ends_alike(parts, PurePosixPath(self.coco.file_names[row] or "").parts)]
        if len(rows) != 1:
            what = "are several images of that name" if rows else "is no image of that name"
            raise DataError(f"{file}: image {shown(image.name)}: there {what} in {self.file}; correct the name")
        size = tuple(self.coco.size[rows[0]].tolist())
        if all(image.size) and all(size) and image.size != size:
            raise DataError(
                f"{file}: image {shown(image.name)} has {image.size[0]}x{image.size[1]} pixels, but "
                f"{size[0]}x{size[1]} in {self.file}: it is another picture, or was resized"
            )
        return rows[0]

    def correct(self, images: Mapping[int, LabeledImage]) -> tuple[ImageChange, ...]:
        """Replace the people of the images of these rows; return what has changed."""
        entries: list[Entry] = self.content["annotations"]
        by_id = {entry["id"]: entry for entry in entries}
        self.highest = max(by_id, default=0)
        gone: set[int] = set()
        new: list[Entry] = []
        changes = []
        for row in sorted(images):
            people = self.people.get(row, [])
            ids = self.coco.ids[people].tolist()
            before = [LabeledPerson(self.coco.joints[n], tuple(self.coco.box[n].tolist())) for n in people]
            pairs = match_people(before, images[row].people)
            counts = dict.fromkeys(("changed", "added", "removed", "same", "joints"), 0)
            for number, identity in enumerate(ids):
                if number not in pairs.values() and before[number].joints[:, 2].any():
                    gone.add(identity)
                    counts["removed"] += 1
            for number, person in enumerate(images[row].people):
                if number not in pairs:
                    new.append(self._added(person, row))
                    counts["added"] += 1
                    continue
                old = before[pairs[number]]
                entry, moved, same = _corrected(by_id[ids[pairs[number]]], old, person)
                by_id[entry["id"]] = entry
                counts["joints"] += moved
                counts["same" if same else "changed"] += 1
            changes.append(ImageChange(self.coco.file_names[row] or "", **counts))
        kept = [by_id[entry["id"]] for entry in entries if entry["id"] not in gone]
        self.content = {**self.content, "annotations": kept + new}
        return tuple(changes)

    def _added(self, person: LabeledPerson, row: int) -> Entry:
        self.highest += 1
        size = tuple(self.coco.size[row].tolist())
        box = person.box or box_around(person.joints, (size[0], size[1]))
        return {
            "id": self.highest,
            "image_id": int(self.coco.image_ids[row]),
            "category_id": self.coco.categories[0],
            "iscrowd": 0,
            **_labels(person.joints),
            "bbox": [round(value, 2) for value in box],
            "area": round(AREA_OF_BOX * box[2] * box[3], 2),
            "segmentation": [],
        }


def _ends_alike(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether the shorter path is the end of the longer one."""
    shared = min(len(first), len(second))
    return list(first)[-shared:] == list(second)[-shared:]


def _labels(joints: Array) -> Entry:
    numbers: list[float] = []
    for x, y, visible in joints.tolist():
        numbers += [_short(x), _short(y), int(visible)] if visible else [0, 0, 0]
    return {"keypoints": numbers, "num_keypoints": int((joints[:, 2] > 0).sum())}


def _short(value: float) -> float:
    rounded = round(value, 3)
    return int(rounded) if rounded.is_integer() else rounded


def _corrected(entry: Entry, old: LabeledPerson, new: LabeledPerson) -> tuple[Entry, int, bool]:
    """Return a person's new annotation, the number of joints that changed, and whether nothing has."""
    apart = np.abs(new.joints[:, :2] - old.joints[:, :2]).max(1) > TOLERANCE
    labeled = (new.joints[:, 2] > 0) | (old.joints[:, 2] > 0)
    moved = ((new.joints[:, 2] != old.joints[:, 2]) | apart) & labeled
    joints = np.where(moved[:, None], new.joints, old.joints)
    assert old.box is not None
    box = old.box if new.box is None else new.box
    if new.box is None and moved.any():
        box = _with_points(old.box, joints)
    redrawn = bool(np.abs(np.subtract(box, old.box)).max() > TOLERANCE)
    if not moved.any() and not redrawn:
        return entry, 0, True
    changed = {key: value for key, value in entry.items() if key != "score"}  # that of a prediction
    if moved.any():
        changed |= _labels(joints)
    if redrawn:
        changed["bbox"] = [round(value, 2) for value in box]
        if isinstance(entry.get("area"), int | float) and old.box[2] * old.box[3] > 0:
            changed["area"] = round(entry["area"] * (box[2] * box[3]) / (old.box[2] * old.box[3]), 2)
    return changed, int(moved.sum()), False


def _with_points(box: Box, joints: Array) -> Box:
    """Return a box grown so that it holds all labeled joints."""
    points = joints[joints[:, 2] > 0, :2]
    corners = np.concatenate([points, [box[:2], (box[0] + box[2], box[1] + box[3])]])
    (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
    return left, top, right - left, bottom - top
