"""The shape of a kind of file, what a reader of it may hand on, and what valid files are made of."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_core.structures import ImageRecord
from pose_testing import annotations

HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no name of an image may hold: control characters, and those that turn the direction of writing."""
BOUND = 1e7
"""No coordinate, and no side of a box, of a file that a reader accepts is larger."""


class Absurd(Exception):
    """A reader has accepted what no valid file holds."""


@dataclass(frozen=True)
class Kind:
    """A kind of file, prepared in a folder: where the changed file goes, valid contents, and its reader."""

    file: Path
    seeds: Sequence[bytes]
    read: Callable[[], object]
    dump: Callable[[Any], bytes] | None = None
    """Writes a changed document; None if only bytes are changed."""
    trees: Sequence[Any] = ()
    """The seeds as documents."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Absurd(what)


def check_records(records: Iterable[ImageRecord], root: Path, joints: int) -> None:
    """Check the images and people that a layout has read."""
    images, people = set(), set()
    base = os.path.realpath(root)
    for record in records:
        expect(type(record.image_id) is int and abs(record.image_id) < 2**63, f"image id {record.image_id!r}")
        expect(record.image_id not in images, "image id twice")
        images.add(record.image_id)
        expect(not HIDDEN.search(record.source), f"source {record.source!r}")
        expect(os.path.realpath(record.source.partition(".zip@")[0]).startswith(base), f"outside: {record.source!r}")
        expect(".." not in record.source.split("/"), f"outside: {record.source!r}")
        expect(all(type(side) is int and 0 <= side < BOUND for side in (record.width, record.height)), "image size")
        crowd = record.crowd_index
        expect(crowd is None or (isinstance(crowd, int | float) and math.isfinite(crowd)), f"crowd index {crowd!r}")
        for person in record.persons:
            expect(type(person.annotation_id) is int, f"annotation id {person.annotation_id!r}")
            expect(person.annotation_id not in people, "annotation id twice")
            people.add(person.annotation_id)
            expect(person.joints.shape == (joints, 3) and person.joints.dtype == np.float32, "joints")
            check_numbers(person.joints, "joints")
            expect(np.isin(person.joints[:, 2], (0, 1, 2)).all(), f"visibility {person.joints[:, 2]}")
            check_numbers((person.area,), "area", BOUND**2)
            expect(person.area >= 0, "negative area")
            for place in (person.box, person.center, person.scale, person.head_box, person.stated_box):
                if place is not None:
                    check_numbers(place, "box, center or scale")
            if person.box is not None:
                expect(min(person.box[2:]) >= 0, f"box {person.box}")
            if person.scale is not None:
                expect(min(person.scale) >= 0, f"scale {person.scale}")
            expect(type(person.is_crowd) is bool, "is_crowd")
            expect(type(person.category_id) is int, f"category {person.category_id!r}")


def check_numbers(values: object, what: str, bound: float = BOUND) -> None:
    numbers = np.asarray(values, np.float64)
    expect(np.isfinite(numbers).all(), f"{what} not finite")
    expect((np.abs(numbers) <= bound).all(), f"{what} out of bounds: {np.abs(numbers).max(initial=0):g}")


def coco_person(identity: int, image_id: int, joints: int = 17, **changes: Any) -> dict[str, Any]:
    numbers = [value for k in range(joints) for value in (10 + k, 5 + 2 * k, 2 - k % 3)]
    labeled = sum(2 - k % 3 > 0 for k in range(joints))
    outline = [[8, 4, 38, 4, 38, 44]]
    usual = {"keypoints": numbers, "num_keypoints": labeled, "segmentation": outline}
    return annotations.person(identity, image_id, joints, **usual | changes)


def coco_tree(joints: Sequence[str], **image: Any) -> dict[str, Any]:
    """Return a COCO document of two images, three people and a crowd."""
    count = len(joints)
    crowd = {"iscrowd": 1, "keypoints": [0] * 3 * count, "num_keypoints": 0}
    return {
        "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 64, "height": 48} | image for i in (1, 2)],
        "annotations": [
            coco_person(10, 1, count),
            coco_person(11, 1, count),
            coco_person(20, 2, count),
            coco_person(21, 2, count, **crowd, segmentation={"counts": [0, 64 * 48], "size": [48, 64]}),
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(joints), "skeleton": [[1, 2], [2, 3]]}],
    }


def as_json(tree: Any) -> bytes:
    try:
        return json.dumps(tree).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):
        return json.dumps(tree, skipkeys=True, default=str).encode("utf-8", "surrogatepass")


def write_images(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in names:
        cv2.imwrite(str(folder / name), pixels)


def json_kind(file: Path, trees: Sequence[Any], read: Callable[[], object]) -> Kind:
    file.parent.mkdir(parents=True, exist_ok=True)
    return Kind(file, [as_json(tree) for tree in trees], read, as_json, trees)
