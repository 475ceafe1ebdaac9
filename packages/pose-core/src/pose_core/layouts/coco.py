"""COCO keypoints: ``annotations/person_keypoints_<split>.json`` and ``images/<split>/``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.coco_file import AREA_OF_BOX, CocoFile, area_of_boxes, read_coco_file
from pose_core.data.diagnostics import Problems
from pose_core.data.sources import find_images, image_source
from pose_core.evaluation.analysis import Analysis
from pose_core.evaluation.analyze import analyze
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.report import COCO_TITLES, Evaluation, format_coco
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.merge import merge_annotations
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
annotations/person_keypoints_<split>.json   (image_info_<split>.json where the split's name contains "test")
images/<split>/ or images/<split>.zip       (test2017 for every test split)
Or files of your own as splits (train.json; here or in annotations/) and images in images/, images/train/ or here"""

Array = np.ndarray


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file of a split; test splits have an ``image_info`` file without annotations.

    A split that ends in ``.json`` is a file: a path, relative to the root or to its ``annotations/``.
    """
    if split.endswith(".json"):
        places = (root / split, root / "annotations" / split, Path(split).expanduser())
        return next((place for place in places if place.is_file()), places[0])
    kind = "image_info" if "test" in split else "person_keypoints"
    return root / "annotations" / f"{kind}_{split}.json"


def read_coco(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read the images of a split, in the file's order, including those without people.

    As published for top-down methods, keep people that are not crowds, have a positive area, a box that overlaps the
    image (clipped to it), and at least one nonzero number in their keypoints. ``keep_unlabeled`` also keeps crowds
    and people without labeled joints, for methods that process whole images.
    """
    file = annotation_file(root, split)
    lists = ("images", "annotations") if has_annotations(split, file) else ("images",)
    content = read_coco_file(file, problems, skeleton.num_joints, skeleton, regions=keep_unlabeled, lists=lists)
    if split.endswith(".json"):
        place, pattern = _place_of_own_images(root, file, content.file_names), "{}.jpg"
    else:
        place = find_images(root / "images" / ("test2017" if "test" in split else split))
        pattern = (f"COCO_{split}_" if "2014" in split else "") + "{:012d}.jpg"
    return records_from_coco(content, file, place, pattern, problems, keep_unlabeled=keep_unlabeled)


def _place_of_own_images(root: Path, file: Path, names: Sequence[str | None]) -> Path:
    """Return the folder that the file names of a user's own annotation file are relative to."""
    first = next((name for name in names if name is not None), "")
    places = (root / "images" / file.stem, root / "images", root / file.stem, root)
    return next((place for place in places if (place / first).is_file()), None) or find_images(root / "images")


def records_from_coco(
    content: CocoFile,
    file: Path,
    place: Path,
    pattern: str,
    problems: Problems,
    *,
    keep_unlabeled: bool = False,
    area_of_box: float | None = None,
) -> tuple[ImageRecord, ...]:
    """Return the records of a file's content.

    ``pattern`` formats an image's id as its file name if it has no ``file_name``. A person's area is the annotated one
    or, if ``area_of_box`` is given or the file states none, that fraction (`AREA_OF_BOX`) of the box's area.
    """
    people: list[list[Person]] = [[] for _ in content.image_ids]
    for row, person in people_from_coco(
        content, file, problems, keep_unlabeled=keep_unlabeled, area_of_box=area_of_box
    ):
        people[row].append(person)
    ignore: dict[int, list[Any]] = {}
    for row, region in content.regions.items():
        ignore.setdefault(int(content.image[row]), []).append(region)
    columns = (content.image_ids.tolist(), content.file_names, content.size.tolist(), content.crowd_index.tolist())
    return tuple(
        ImageRecord(
            image_id=identity,
            source=image_source(place, name or pattern.format(identity)),
            persons=tuple(people[row]),
            width=width,
            height=height,
            ignore=tuple(ignore.get(row, ())),
            crowd_index=None if math.isnan(crowd_index) else crowd_index,
        )
        for row, (identity, name, (width, height), crowd_index) in enumerate(zip(*columns, strict=True))
    )


def people_from_coco(
    content: CocoFile, file: Path, problems: Problems, *, keep_unlabeled: bool, area_of_box: float | None
) -> Iterator[tuple[int, Person]]:
    """Yield the row of an image and a person in it, for the people that the published rules keep."""
    joints = content.joints.astype(np.float32)
    size, stated = content.size[content.image], content.box
    area = area_of_boxes(content, area_of_box)
    boxes = clip_boxes(stated, size)
    # Crowds and people without a labeled joint are common in these files: they are not reported as problems.
    kept = np.ones(len(joints), bool) if keep_unlabeled else ~content.crowd & (joints.max((1, 2), initial=-1.0) != 0)
    no_area = np.isnan(content.area) & (area_of_box is None)
    small = (area <= 0) & (area_of_box is None)
    outside: Array = np.isnan(boxes[:, 0])
    # The published code keeps it and crops with a scale of zero, which gives an empty crop.
    empty = (boxes[:, 2] <= 0) & (boxes[:, 3] <= 0)
    clipped = (stated[:, :2].min(1, initial=0.0) < -1) | (stated[:, :2] + stated[:, 2:] > size + 1).any(1)
    ids = content.ids.tolist()
    for row in np.flatnonzero(kept & (no_area | small | outside | empty | clipped)).tolist():
        identity, (x, y, w, h), (width, height) = ids[row], stated[row].tolist(), size[row].tolist()
        if no_area[row]:
            problems.skip("no area", file, f"OKS uses {AREA_OF_BOX:g} of the box's area, {area[row]:.0f}", identity)
        if small[row]:
            problems.skip("zero-area person", file, f"area is {area[row]:g}", identity)
        elif outside[row]:
            text = f"box {[x, y, w, h]} lies outside the {width}x{height} image"
            problems.skip("box outside the image", file, text, identity)
        elif empty[row]:
            problems.skip("zero-area person", file, f"box {[x, y, w, h]} has no extent within the image", identity)
        elif clipped[row]:
            text = f"box {[x, y, w, h]} exceeds the {width}x{height} image"
            problems.skip("box clipped", file, text, identity)
    kept &= ~(small | outside | empty)
    columns = (joints, content.image.tolist(), ids, boxes.tolist(), area.tolist(), content.crowd.tolist(),
               stated.tolist(), content.category.tolist())  # fmt: skip
    for take, points, image, identity, box, size_of, crowd, given, category in zip(
        kept.tolist(), *columns, strict=True
    ):
        if take:
            yield (
                image,
                Person(
                    joints=points,
                    annotation_id=identity,
                    box=tuple(box),
                    area=size_of,
                    is_crowd=crowd,
                    stated_box=tuple(given),
                    category_id=category,
                ),
            )


def clip_boxes(boxes: Array, size: Array) -> Array:
    """Clip boxes ``(P, 4)`` to images of ``size`` ``(P, 2)`` as published; rows are NaN where nothing is left.

    A box ends on its last pixel, so its sides are 1 shorter.
    """
    start = np.maximum(0.0, boxes[:, :2]) + 0.0  # never −0
    end = np.minimum(size - 1.0, start + np.maximum(0.0, boxes[:, 2:] - 1))
    clipped = np.concatenate([start, end - start], 1)
    clipped[(end < start).any(1)] = np.nan
    return clipped


def score_entries(
    entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
) -> Evaluation:
    """Score by COCO's keypoint AP."""
    metrics = coco_keypoint_ap(found.ground_truth.without(without), entries, sigmas=list(found.skeleton.sigmas))
    return Evaluation("COCO AP", metrics["AP"], metrics, format_coco(metrics, name))


def analyze_entries(found: AnnotatedSet, file: Path, *, without: Set[int] = frozenset()) -> Analysis:
    """Analyze the errors of COCO result entries."""
    return analyze(found.ground_truth.without(without), file, found.skeleton)


def check_ground_truth(found: AnnotatedSet) -> None:
    """Raise a DataError for annotations that scoring would refuse."""
    if found.has_annotations:
        found.ground_truth  # noqa: B018  reading it checks it


def has_annotations(split: str, file: Path) -> bool:
    """Return whether the file is not one of the test splits' ``image_info`` files."""
    return not file.name.startswith("image_info")


COCO = Layout(
    name="coco",
    skeleton="coco17",
    train="train2017",
    val="val2017",
    splits=("train2017", "val2017"),
    expected=EXPECTED,
    annotation_file=annotation_file,
    read=read_coco,
    score_entries=score_entries,
    analyze=analyze_entries,
    check_ground_truth=check_ground_truth,
    has_annotations=has_annotations,
    titles=COCO_TITLES,
    merge=merge_annotations,
)
