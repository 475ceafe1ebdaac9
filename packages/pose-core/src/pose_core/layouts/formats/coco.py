"""COCO keypoints: one JSON file of images, annotations and categories.

Pixels are 0-based and those of a record: nothing is added. Areas of people without one are computed from their boxes.
Outlines of people are not kept, those of crowds are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pose_core.files import write_json
from pose_core.layouts.formats.format import Target, Written
from pose_core.layouts.formats.people import Box, area_of, box_of, exact, unique_ids
from pose_core.layouts.formats.pictures import file_names, with_sizes
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Entry = dict[str, Any]


def write_coco(
    records: Sequence[ImageRecord],
    skeleton: Skeleton,
    file: Path,
    *,
    images: Path | None = None,
    scores: bool = False,
    category: str = "person",
) -> None:
    """Write a COCO keypoint file.

    Names of images are relative to the folder ``images``, or without any folder if it is None. ``scores`` adds each
    person's score, for predictions. ``category`` is the name of the one category. Widths and heights that records lack
    are read from the images.
    """
    names = file_names(records, images)
    write_json(file, coco_content(records, skeleton, names=names, scores=scores, category=category))


def coco_content(
    records: Sequence[ImageRecord],
    skeleton: Skeleton,
    *,
    names: Sequence[str],
    scores: bool = False,
    category: str = "person",
) -> Entry:
    """Return the content of a COCO file; ``names`` are those of the images."""
    sized = with_sizes(records)
    ids = iter(unique_ids(sized))
    pictures, annotations = [], []
    for record, name in zip(sized, names, strict=True):
        size = record.width, record.height
        pictures.append({"id": record.image_id, "file_name": name, "width": size[0], "height": size[1]})
        regions = _regions(record)
        for number, person in enumerate(record.persons):
            entry = {"id": next(ids), "image_id": record.image_id, "category_id": 1}
            entry |= _person(person, box_of(person, size), regions.get(number, []))
            annotations.append(entry | ({"score": exact(person.score)} if scores else {}))
    return {
        "info": {"description": f"People with the joints of {skeleton.name}", "version": "1.0"},
        "licenses": [],
        "images": pictures,
        "annotations": annotations,
        "categories": [category_entry(skeleton, category)],
    }


def write_own_coco(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write ``annotations/<name>.json``, which is read as a split of one's own."""
    file = target.folder / "annotations" / f"{target.name}.json"
    write_json(file, coco_content(records, skeleton, names=target.names))
    return Written((file,), tuple(target.folder / "images" / name for name in target.names), "coco", file.name)


def category_entry(skeleton: Skeleton, name: str = "person") -> Entry:
    """Return the category of a skeleton: joints by name, limbs as pairs of joint numbers from 1."""
    limbs = [[a + 1, b + 1] for a, b in skeleton.limbs]
    return {"supercategory": name, "id": 1, "name": name, "keypoints": list(skeleton.joints), "skeleton": limbs}


def _person(person: Person, box: Box, region: object) -> Entry:
    numbers: list[float] = []
    for x, y, visible in person.joints.tolist():
        # COCO's x and y of a joint that is not labeled are 0.
        numbers += [exact(x), exact(y), int(visible)] if visible > 0 else [0, 0, 0]
    return {
        "keypoints": numbers,
        "num_keypoints": person.num_labeled,
        "bbox": [round(value, 4) for value in box],
        "area": round(area_of(person, box), 4),
        "iscrowd": int(person.is_crowd),
        "segmentation": region,
    }


def _regions(record: ImageRecord) -> dict[int, object]:
    """Return the outlines of an image's crowds and unlabeled people, by the person's number.

    A record holds them in the order of its people; where some have none, whose they are is not known.
    """
    others = [n for n, person in enumerate(record.persons) if person.is_crowd or not person.num_labeled]
    return dict(zip(others, record.ignore, strict=True)) if len(others) == len(record.ignore) else {}
