"""The layout of a toy data set: a new layout needs a file like this, and a row in ``layouts.table.LAYOUTS``.

``<split>.csv`` has a row per person: image, x, y, w, h of the box, and x, y, visibility of each joint; images are in
``pictures/``. People are scored by COCO's AP.
"""

from __future__ import annotations

import csv
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.sources import find_images, image_source
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.report import COCO_TITLES, Evaluation, format_coco
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person


def annotation_file(root: Path, split: str) -> Path:
    return root / f"{split}.csv"


def read_toy(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read the images of a split; annotation ids are rows from 1."""
    file, people = annotation_file(root, split), dict[str, list[Person]]()
    with file.open(newline="") as content:
        for row, (name, *cells) in enumerate(csv.reader(content), start=1):
            x, y, w, h, *numbers = map(float, cells)
            if len(numbers) != 3 * skeleton.num_joints:
                problems.stop("wrong joint count", file, f"{len(numbers)} numbers of joints", row)
                continue
            joints = np.array(numbers, np.float32).reshape(-1, 3)
            people.setdefault(name, []).append(Person(joints, row, box=(x, y, w, h), area=w * h))
    place = find_images(root / "pictures")
    return tuple(
        ImageRecord(number, image_source(place, name), tuple(persons))
        for number, (name, persons) in enumerate(people.items())
    )


def score_entries(
    entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
) -> Evaluation:
    """Score by COCO's AP; the ground truth is made from the records, which do not include skipped images."""
    annotations = [
        {"id": p.annotation_id, "image_id": record.image_id, "category_id": 1, "bbox": p.box, "area": p.area,
         "keypoints": p.joints.ravel().tolist()}
        for record in found.records for p in record.persons
    ]  # fmt: skip
    truth = {"images": [{"id": record.image_id} for record in found.records], "annotations": annotations}
    metrics = coco_keypoint_ap(truth, entries, sigmas=list(found.skeleton.sigmas))
    return Evaluation("toy AP", metrics["AP"], metrics, format_coco(metrics, name))


TOY = Layout(
    name="toy",
    skeleton="lsp14",
    train="learn",
    val="hold",
    splits=("learn", "hold"),
    expected="<split>.csv\npictures/ or pictures.zip",
    annotation_file=annotation_file,
    read=read_toy,
    score_entries=score_entries,
    scores_missing_images=False,
    titles=COCO_TITLES,
)
