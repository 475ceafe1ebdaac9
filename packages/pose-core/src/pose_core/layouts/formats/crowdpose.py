"""CrowdPose: ``json/crowdpose_<split>.json`` in COCO's format, without areas and outlines, with crowd indices.

Pixels are 0-based and those of a record. A crowd index that a record lacks is computed by the paper's equation 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_core.files import write_json
from pose_core.layouts.formats.coco import coco_content
from pose_core.layouts.formats.format import Target, Written
from pose_core.layouts.formats.people import Box, box_of
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord


def write_crowdpose(records: Sequence[ImageRecord], skeleton: Skeleton, target: Target) -> Written:
    """Write the annotation file of a split."""
    content = coco_content(records, skeleton, names=target.names)
    for image, record in zip(content["images"], records, strict=True):
        image["crowdIndex"] = crowd_index(record) if record.crowd_index is None else record.crowd_index
    for entry in content["annotations"]:
        del entry["area"], entry["segmentation"]
    file = target.folder / "json" / f"crowdpose_{target.name}.json"
    write_json(file, {key: content[key] for key in ("images", "annotations", "categories")})
    return Written((file,), tuple(target.folder / "images" / n for n in target.names), "crowdpose", target.name)


def crowd_index(record: ImageRecord) -> float:
    """Return the mean, over people, of the ratio of others' joints in a person's box to its own, at most 1."""
    people = [person for person in record.persons if not person.is_crowd]
    boxes = [box_of(person, (record.width, record.height)) for person in people]
    joints = [person.joints[person.joints[:, 2] > 0, :2] for person in people]
    inside = np.array([[_count(points, box) for points in joints] for box in boxes]).reshape(len(people), len(people))
    own = inside.diagonal()
    ratios = (inside.sum(1) - own) / np.maximum(own, 1)
    return round(min(float(ratios.mean()), 1.0), 4) if len(people) > 1 else 0.0


def _count(points: np.ndarray, box: Box) -> int:
    low = np.array(box[:2])
    return int(((points >= low) & (points <= low + box[2:])).all(1).sum())
