"""Detected people for evaluation: a JSON list of ``{image_id, category_id, bbox, score}``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_core.config import DataConfig
from pose_core.data.diagnostics import Problems
from pose_core.data.numbers import FAR, is_number, number_list, whole_number
from pose_core.errors import ConfigError, DataError
from pose_core.folders import find_data_root
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown
from pose_core.structures import ImageRecord, Person

PERSON = 1


def find_detections(config: DataConfig) -> Path:
    """Return the configured detections file, relative to the current directory or to the data root."""
    if config.detections is None:
        raise ConfigError("test.boxes=detections needs data.detections: the JSON file with the detected people")
    here = Path(config.detections).expanduser()
    below = find_data_root(config.root) / here
    return below if below.exists() and not here.exists() else here


def read_detections(
    path: Path,
    records: Sequence[ImageRecord],
    min_score: float = 0.0,
    *,
    problems: Problems | None = None,
    category: int = PERSON,
) -> tuple[ImageRecord, ...]:
    """Return the records with their people replaced by detections of people that score ``min_score`` or more.

    People are detections of category 1, as detectors of COCO's people write it, or of ``category``, the ground truth's.

    Boxes are used unchanged, as published. A person's ``annotation_id`` is the detection's row in the file; it has no
    joints. Detections of images that are not among the records are counted; if none matches, the file belongs to
    another split and a DataError is raised.
    """
    problems = Problems() if problems is None else problems
    content = read_json(path, "detections file")
    if not isinstance(content, list):
        raise DataError(f"detections file {path} must hold a list of {{image_id, category_id, bbox, score}}")
    people: dict[int, list[Person]] = {record.image_id: [] for record in records}
    strangers, matched = 0, 0
    nothing = np.zeros((0, 3), np.float32)
    for row, entry in enumerate(content):
        image_id, box, score, kind = detection_fields(entry, row, path)
        if kind not in {PERSON, category}:
            continue
        if image_id not in people:
            strangers += 1
            problems.skip("detections of other images", path, f"image {image_id} is not in this split", row)
            continue
        matched += 1
        if score < min_score:
            continue
        if min(box[2:]) < 0 or max(box[2:]) <= 0:
            problems.skip("zero-area person", path, f"box {list(box)} has no extent", row)
            continue
        people[image_id].append(
            Person(
                nothing,
                row,
                box=(box[0], box[1], box[2], box[3]),
                area=box[2] * box[3],
                score=score,
                category_id=category,
            )
        )
    if content and not matched:
        raise DataError(
            f"detections file {path}: none of its {len(content)} detections is of a person in the {len(records)} "
            f"images of this split ({strangers} are of other images): this is the detections file of another split"
        )
    return tuple(replace(record, persons=tuple(people[record.image_id])) for record in records)


def detection_fields(entry: object, row: int, path: Path) -> tuple[int, tuple[float, ...], float, int]:
    """Return image id, box, score and category of one entry, or raise a DataError that names its row."""
    where = f"detections file {path}: entry {row}"
    if not isinstance(entry, dict) or not {"image_id", "bbox", "score"} <= entry.keys():
        raise DataError(f"{where} needs 'image_id', 'bbox' [x, y, w, h] and 'score'")
    image_id, category = (whole_number(entry.get(key, PERSON)) for key in ("image_id", "category_id"))
    if image_id is None or category is None:
        key = "image_id" if image_id is None else "category_id"
        raise DataError(f"{where}: {key!r} is {shown(entry[key])}, which is not an integer")
    box, score = number_list(entry["bbox"], 4), entry["score"]
    if box is None or not is_number(score) or abs(score) > FAR:
        raise DataError(f"{where}: 'bbox' must be four finite numbers within ±{FAR:.0f}, 'score' one")
    return image_id, tuple(box.tolist()), float(score), category
