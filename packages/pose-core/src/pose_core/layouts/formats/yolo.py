"""YOLO's pose labels: ``data.yaml``, and for each image a text file with one line per person.

A line is ``class cx cy w h`` and, for each joint, ``x y visibility``, all but class and visibility divided by the
image's width and height. As all converters from COCO do, 0-based pixels are divided as they are, and nothing is added.
Labels must be within the image: boxes are clipped, and joints outside are not labeled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pose_core.data.coco_file import AREA_OF_BOX
from pose_core.data.images import read_bytes
from pose_core.data.numbers import FAR, whole_number
from pose_core.data.sources import check_inside, image_source
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_text
from pose_core.layouts.formats.format import Found, Target, Written, skeleton_of
from pose_core.layouts.formats.people import Box, box_of
from pose_core.layouts.formats.pictures import with_sizes
from pose_core.plurals import counted
from pose_core.reading.images import image_size
from pose_core.reading.printable import shown
from pose_core.reading.regular import read_regular
from pose_core.reading.yaml_text import read_yaml_file
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Array = np.ndarray

MAX_LABELS = 50_000_000
"""The largest label file in bytes."""
MAX_FRACTION = 10
"""The largest coordinate, as a fraction of the image's size: labels should be from 0 to 1."""
IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_FIRST = 5
"""Numbers of a line before those of the joints."""


def read_yolo(path: Path, split: str, skeleton: Skeleton | None) -> Found:
    """Read a split, ``train`` by default, of a ``data.yaml``; images of several classes: those named ``person``."""
    file = path / "data.yaml" if path.is_dir() else path
    content = read_yaml_file(file, "YOLO data file", error=DataError, number_keys=True)
    if not isinstance(content, dict):
        raise DataError(f"{file} is not a YOLO data file: it must hold kpt_shape, names and train")
    joints, numbers = _shape(content.get("kpt_shape"), file)
    skeleton = skeleton or _skeleton(content, joints, file)
    if skeleton.num_joints != joints:
        raise ConfigError(
            f"{file} has {joints} joints (kpt_shape), but skeleton {skeleton.name!r} has {skeleton.num_joints}; name "
            "another with --from-skeleton"
        )
    person = _class(content.get("names"), file)
    folder = _images_folder(content, split or "train", file)
    records, others = [], 0
    ids = iter(range(1, 2**62))
    for identity, image in enumerate(_images(folder), 1):
        source = image_source(folder, image.relative_to(folder).as_posix())
        size = image_size(read_bytes(source), f"image {source}")
        labels = _label_file(image)
        rows = _rows(labels, joints, numbers) if labels.exists() else []
        others += sum(row[0] != person for row in rows)
        people = tuple(_person(row, numbers, size, next(ids)) for row in rows if row[0] == person)
        records.append(ImageRecord(identity, source, people, *size))
    notes = (f"{counted(others, 'label')} of other classes than person",) if others else ()
    return Found(tuple(records), skeleton, notes)


def _shape(shape: object, file: Path) -> tuple[int, int]:
    """Return the number of joints, and of numbers of a joint."""
    if isinstance(shape, list) and len(shape) == 2:
        joints, numbers = shape
        if type(joints) is int and 1 <= joints <= 1000 and type(numbers) is int and numbers in (2, 3):
            return joints, numbers
    raise DataError(f"{file}: 'kpt_shape' is {shown(shape)}, expected the number of joints and 2 or 3: [17, 3]")


def _skeleton(content: dict[str, Any], joints: int, file: Path) -> Skeleton:
    """Return the skeleton of the joints that ``kpt_names`` lists: by class, or as one list."""
    names = content.get("kpt_names")
    names = next(iter(names.values()), None) if isinstance(names, dict) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != joints:
        raise ConfigError(
            f"{file} does not name its {counted(joints, 'joint')}; add a line 'kpt_names: {{0: [name, name, …]}}' with "
            f"{joints} names, or name a skeleton of {joints} joints with --from-skeleton (17: coco17)"
        )
    return skeleton_of("person", names)


def _class(names: object, file: Path) -> int:
    """Return the number of the class of people: the only one, or that which is named so."""
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if isinstance(listed, dict) and len(listed) == 1:
        number = whole_number(next(iter(listed)))
        if number is not None:
            return number
    if isinstance(listed, dict):
        for number, name in listed.items():
            if name == "person" and type(number) is int:
                return number
    raise DataError(
        f"{file}: 'names' is {shown(names)}, expected one class, or one that is named person; rename the one to convert"
        " so in the file"
    )


def _images_folder(content: dict[str, Any], split: str, file: Path) -> Path:
    """Return the folder of a split's images, which must be below that of the data file."""
    value = content.get(split)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        named = [key for key, at in content.items() if isinstance(at, str) and key not in ("path", "download", "names")]
        have = f"splits in the file: {shown(', '.join(map(str, named)))}" if named else "the file has no split"
        raise DataError(f"{file}: {split!r} is {shown(value)}, expected the folder of its images; {have} (--split)")
    base = content.get("path")
    # Files that were moved name a folder that is not there: the data file's own is tried, too.
    starts = [file.parent / base] if isinstance(base, str) and "\0" not in base else []
    places = [start / value for start in (*starts, file.parent)]
    found = next((place for place in places if os.path.isdir(place)), None)  # noqa: PTH112  no error for any name
    if found is None:
        raise DataError(f"{file}: the folder of images {shown(value)} of {split!r} is not below {file.parent}")
    check_inside(str(found), str(file.parent), str(found))
    return found


def _images(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGES and path.is_file())


def _label_file(image: Path) -> Path:
    """Return ``labels/a.txt`` of ``images/a.jpg``: the last folder of that name is replaced."""
    parts = list(image.parts)
    places = [number for number, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _rows(file: Path, joints: int, numbers: int) -> list[list[float]]:
    """Return the numbers of each line of a label file."""
    text = read_regular(file, "label file", limit=MAX_LABELS).decode("utf-8-sig", "replace")
    rows = []
    count = _FIRST + joints * numbers
    for line, words in enumerate(map(str.split, text.splitlines()), 1):
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != count or not all(abs(value) <= MAX_FRACTION for value in row[1:]) or not abs(row[0]) <= FAR:
            fault = f"a word that is not a fraction of the image's size, at most {MAX_FRACTION}"
            have = f"{len(words)} words" if len(words) != count else fault
            raise DataError(
                f"label file {file}: line {line} has {have}, expected {count} numbers: class, cx, cy, w, h, and "
                f"{numbers} for each of {joints} joints"
            )
        rows.append(row)
    return rows


def _person(row: Sequence[float], numbers: int, size: tuple[int, int], identity: int) -> Person:
    cx, cy, w, h = (value * side for value, side in zip(row[1:_FIRST], size * 2, strict=True))
    given: Array = np.array(row[_FIRST:]).reshape(-1, numbers)
    # Without visibility, the joint (0, 0) is not labeled.
    seen = np.clip(np.round(given[:, 2]), 0, 2) if numbers == 3 else np.where((given > 0).any(1), 2.0, 0.0)
    joints = np.column_stack([given[:, :2] * size, seen])
    joints[seen == 0] = 0
    box = cx - w / 2, cy - h / 2, max(w, 0.0), max(h, 0.0)
    return Person(joints.astype(np.float32), identity, box, AREA_OF_BOX * box[2] * box[3], stated_box=box)


def write_yolo(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write ``labels/<name>/*.txt`` and ``data.yaml``; an image's labels have its own name."""
    images = target.folder / "images" / target.name
    files: dict[Path, str] = {}
    for record, name in zip(with_sizes(records), target.names, strict=True):
        file = _label_file(images / name)
        if files.get(file) == record.source:
            raise DataError(f"image {record.source} is listed twice; remove one of the two from the file")
        if file in files:
            raise DataError(f"images {files[file]} and {record.source} would have one label file {file}; rename one")
        files[file] = record.source
        size = record.width, record.height
        write_text(file, "".join(_line(person, size) for person in record.persons), sync=False)
    data = target.folder / "data.yaml"
    write_text(data, _data_file(skeleton, target.folder))
    notes = ("YOLO needs the splits train and val: convert both into this folder, with --name train and --name val",)
    return Written((*files, data), tuple(images / name for name in target.names), notes=notes)


def _line(person: Person, size: tuple[int, int]) -> str:
    left, top, w, h = _clipped(box_of(person, size), size)
    box = [(left + w / 2) / size[0], (top + h / 2) / size[1], w / size[0], h / size[1]]
    words = ["0", *(f"{value:.9g}" for value in box)]
    for x, y, seen in person.joints.tolist():
        words += [f"{x / size[0]:.9g}", f"{y / size[1]:.9g}", f"{seen:.0f}"] if seen else ["0", "0", "0"]
    return " ".join(words) + "\n"


def _clipped(box: Box, size: tuple[int, int]) -> Box:
    low = np.clip(box[:2], 0, size)
    high = np.clip(np.add(box[:2], box[2:]), 0, size)
    (left, top), (w, h) = low.tolist(), (high - low).tolist()
    return left, top, w, h


def _data_file(skeleton: Skeleton, folder: Path) -> str:
    """Return ``data.yaml``, with the splits that have labels now."""
    splits = sorted(path.name for path in (folder / "labels").iterdir() if path.is_dir())
    content = {
        **{split: f"images/{split}" for split in splits},
        "kpt_shape": [skeleton.num_joints, 3],
        "flip_idx": skeleton.flip_order.tolist(),
        "names": {0: "person"},
        "kpt_names": {0: list(skeleton.joints)},
    }
    # Without 'path', the splits are relative to the file's own folder.
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
