"""CrowdPose: ``json/crowdpose_<split>.json`` and ``images/``."""

from __future__ import annotations

from collections.abc import Set
from functools import partial
from pathlib import Path
from typing import Any

from pose_core.data.coco_file import AREA_OF_BOX, read_coco_file
from pose_core.data.diagnostics import Problems
from pose_core.data.sources import find_images
from pose_core.evaluation.crowdpose import check_crowd_index, crowdpose_ap
from pose_core.evaluation.report import CROWDPOSE_TITLES, Evaluation, format_crowdpose
from pose_core.layouts.coco import analyze_entries, records_from_coco
from pose_core.layouts.coco import check_ground_truth as check_annotations
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.merge import merge_annotations
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord

EXPECTED = """\
json/crowdpose_<split>.json    (train, val, trainval, test)
images/ or images.zip"""


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file of a split."""
    return root / "json" / f"crowdpose_{split}.json"


def read_crowdpose(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read the images of a split with their crowd index; people by COCO's rules, with areas computed from boxes."""
    file = annotation_file(root, split)
    lists = ("images", "annotations")
    content = read_coco_file(file, problems, skeleton.num_joints, skeleton, regions=keep_unlabeled, lists=lists)
    place = find_images(root / "images")
    return records_from_coco(
        content, file, place, "{}.jpg", problems, keep_unlabeled=keep_unlabeled, area_of_box=AREA_OF_BOX
    )


def score_entries(
    entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
) -> Evaluation:
    """Score by CrowdPose's AP."""
    metrics = crowdpose_ap(found.ground_truth.without(without), entries)
    return Evaluation("CrowdPose AP", metrics["AP"], metrics, format_crowdpose(metrics, name))


def check_ground_truth(found: AnnotatedSet) -> None:
    """Raise a DataError if an image has no crowd index, or for annotations that scoring would refuse."""
    check_annotations(found)
    check_crowd_index(found.ground_truth)


CROWDPOSE = Layout(
    name="crowdpose",
    skeleton="crowdpose14",
    train="train",
    val="test",
    splits=("train", "val", "test"),
    expected=EXPECTED,
    annotation_file=annotation_file,
    read=read_crowdpose,
    score_entries=score_entries,
    analyze=analyze_entries,
    check_ground_truth=check_ground_truth,
    area_of_box=AREA_OF_BOX,
    titles=CROWDPOSE_TITLES,
    merge=partial(merge_annotations, crowd_index=True),
)
