"""CrowdPose: ``json/crowdpose_<split>.json`` and ``images/``."""

from __future__ import annotations

from pathlib import Path

from pose_core.data.diagnostics import Problems
from pose_core.data.images import find_images
from pose_core.data.json_file import read_json
from pose_core.layouts.coco import records_from_coco
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord

EXPECTED = """\
json/crowdpose_<split>.json    (train, val, trainval, test)
images/ or images.zip"""


def annotation_file(root: Path, split: str) -> Path:
    return root / "json" / f"crowdpose_{split}.json"


def read_crowdpose(
    root: Path, split: str, skeleton: Skeleton, *, problems: Problems | None = None, everyone: bool = False
) -> tuple[ImageRecord, ...]:
    """Images of a split with their crowd index; people by COCO's rules, but no area is asked for."""
    problems = Problems() if problems is None else problems
    file = annotation_file(root, split)
    content = read_json(file)
    return records_from_coco(
        content,
        file,
        find_images(root / "images"),
        skeleton,
        "{}.jpg",
        problems,
        everyone=everyone,
        has_area=False,
    )
