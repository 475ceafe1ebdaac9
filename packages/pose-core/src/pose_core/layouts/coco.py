"""COCO keypoints: ``annotations/person_keypoints_<split>.json`` and ``images/<split>/``."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.sources import find_images, image_source
from pose_core.errors import DataError
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.evaluation.keypoint_files import AREA_OF_BOX
from pose_core.evaluation.report import COCO_TITLES, Evaluation, format_coco
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.merge import merge_annotations
from pose_core.reading.json_text import read_json
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
annotations/person_keypoints_<split>.json   (image_info_<split>.json where the split's name contains "test")
images/<split>/ or images/<split>.zip       (test2017 for every test split)
Or files of your own as splits (train.json; here or in annotations/) and images in images/, images/train/ or here"""

Box = tuple[float, float, float, float]


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
    content = read_json(file)
    if split.endswith(".json"):
        place = _place_of_own_images(root, file, content)
        return records_from_coco(content, file, place, skeleton, "{}.jpg", problems, keep_unlabeled=keep_unlabeled)
    place = find_images(root / "images" / ("test2017" if "test" in split else split))
    prefix = f"COCO_{split}_" if "2014" in split else ""
    pattern = prefix + "{:012d}.jpg"
    return records_from_coco(content, file, place, skeleton, pattern, problems, keep_unlabeled=keep_unlabeled)


def _place_of_own_images(root: Path, file: Path, content: Any) -> Path:
    """Return the folder that the file names of a user's own annotation file are relative to."""
    images = content.get("images") if isinstance(content, dict) else None
    first = next((image["file_name"] for image in images or () if isinstance(image, dict) and "file_name" in image), "")
    places = (root / "images" / file.stem, root / "images", root / file.stem, root)
    return next((place for place in places if (place / str(first)).is_file()), None) or find_images(root / "images")


def records_from_coco(
    content: Any,
    file: Path,
    place: Path,
    skeleton: Skeleton,
    pattern: str,
    problems: Problems,
    *,
    keep_unlabeled: bool = False,
    area_of_box: float | None = None,
) -> tuple[ImageRecord, ...]:
    """Return the records of a COCO-style dictionary.

    ``pattern`` formats an image's id as its file name if it has no ``file_name``. A person's area is the annotated one
    or, if ``area_of_box`` is given or the file states none, that fraction (`AREA_OF_BOX`) of the box's area.
    """
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{file} is not a COCO annotation file: it needs a list 'images'")
    categories = _person_categories(content, file, skeleton)
    images = _images_by_id(content["images"], file, problems)
    people: dict[int, list[Person]] = {image_id: [] for image_id in images}
    ignore: dict[int, list[Any]] = {}
    seen: set[int] = set()
    for position, annotation in enumerate(content.get("annotations", ())):
        if not isinstance(annotation, dict) or not isinstance(annotation.get("id"), int):
            problems.stop("bad annotation", file, f"entry {position} of 'annotations' has no integer 'id'")
            continue
        identity = annotation["id"]
        if identity in seen:
            problems.stop("repeated id", file, "two annotations have this id; give each its own", identity)
            continue
        seen.add(identity)
        if annotation.get("category_id", 1) not in categories:
            continue
        image = images.get(annotation.get("image_id", -1))
        if image is None:
            problems.stop(
                "unknown image",
                file,
                f"image_id {annotation.get('image_id')!r} is not among the {len(images)} images of this file",
                identity,
            )
            continue
        joints = _joints(annotation, file, skeleton, problems)
        if joints is None:
            continue
        if _is_ignored(annotation, joints):
            ignore.setdefault(image["id"], []).append(annotation.get("segmentation"))
        person = _person(
            annotation, joints, image, file, problems, keep_unlabeled=keep_unlabeled, area_of_box=area_of_box
        )
        if person is not None:
            people[image["id"]].append(person)
    return tuple(
        ImageRecord(
            image_id=identity,
            source=image_source(place, image.get("file_name") or pattern.format(identity)),
            persons=tuple(people[identity]),
            width=image["width"],
            height=image["height"],
            ignore=tuple(region for region in ignore.get(identity, ()) if region),
            crowd_index=image.get("crowdIndex"),
        )
        for identity, image in images.items()
    )


def clip_box(box: Box, width: int, height: int) -> Box | None:
    """Clip a box as published: it ends on its last pixel, so its sides are 1 shorter; None if nothing is left."""
    x, y, w, h = box
    left, top = max(0.0, x), max(0.0, y)
    right = min(width - 1.0, left + max(0.0, w - 1))
    bottom = min(height - 1.0, top + max(0.0, h - 1))
    if right < left or bottom < top:
        return None
    return left, top, right - left, bottom - top


def _person_categories(content: dict[str, Any], file: Path, skeleton: Skeleton) -> set[int]:
    """Return the ids of the categories whose keypoints are the skeleton's joints."""
    listed = content.get("categories")
    if not listed:
        return {1}
    named = [category for category in listed if category.get("keypoints")]
    fitting = [category for category in named if len(category["keypoints"]) == skeleton.num_joints]
    if named and not fitting:
        counts = ", ".join(f"{category.get('name')!r} has {len(category['keypoints'])}" for category in named)
        raise DataError(
            f"{file}: the skeleton {skeleton.name!r} has {skeleton.num_joints} joints, but category {counts}; "
            "set data.skeleton (pose data check: --skeleton) to the joint set of this file, which `pose data skeleton` "
            "writes"
        )
    for category in fitting:
        names = [str(name) for name in category["keypoints"]]
        if sorted(names) == sorted(skeleton.joints) and tuple(names) != skeleton.joints:
            raise DataError(
                f"{file}: category {category.get('name')!r} holds the joints of skeleton {skeleton.name!r} in another "
                f"order ({', '.join(names)}); set data.skeleton (pose data check: --skeleton) to a YAML file that "
                "lists them in this order"
            )
    # Files whose categories have no keypoints (image_info lists all eighty) use the person category, 1.
    return {int(category["id"]) for category in fitting} or {1}


def _images_by_id(images: list[Any], file: Path, problems: Problems) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for position, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("id"), int):
            problems.stop("bad annotation", file, f"entry {position} of 'images' has no integer 'id'")
        elif image["id"] in found:
            problems.stop("repeated id", file, f"two images have the id {image['id']}")
        elif not all(isinstance(image.get(side), int) and image[side] > 0 for side in ("width", "height")):
            problems.stop("bad annotation", file, f"image {image['id']} has no positive integer 'width' and 'height'")
        else:
            found[image["id"]] = image
    return found


def _joints(annotation: dict[str, Any], file: Path, skeleton: Skeleton, problems: Problems) -> np.ndarray | None:
    """Return joints ``(K, 3)`` float32, or None after counting a problem."""
    identity, numbers = annotation["id"], annotation.get("keypoints")
    if not isinstance(numbers, list) or len(numbers) != 3 * skeleton.num_joints:
        have = f"{len(numbers)} keypoint numbers" if isinstance(numbers, list) else "no list 'keypoints'"
        problems.stop(
            "wrong joint count",
            file,
            f"{have}, but skeleton {skeleton.name!r} has {skeleton.num_joints} joints ({3 * skeleton.num_joints} "
            "numbers: x, y, visibility); correct the file or set data.skeleton (pose data check: --skeleton)",
            identity,
        )
        return None
    try:
        joints = np.array(numbers, dtype=np.float32).reshape(-1, 3)
    except (TypeError, ValueError):
        joints = np.full((1, 3), np.nan, np.float32)
    if not np.isfinite(joints).all():
        problems.stop("bad annotation", file, "'keypoints' holds a value that is not a finite number", identity)
        return None
    return joints


def _is_ignored(annotation: dict[str, Any], joints: np.ndarray) -> bool:
    labeled = annotation.get("num_keypoints", int((joints[:, 2] > 0).sum()))
    return bool(annotation.get("iscrowd", 0)) or labeled == 0


def _person(
    annotation: dict[str, Any],
    joints: np.ndarray,
    image: dict[str, Any],
    file: Path,
    problems: Problems,
    *,
    keep_unlabeled: bool,
    area_of_box: float | None,
) -> Person | None:
    """Return the person of an annotation, or None if the published rules drop it."""
    identity, crowd = annotation["id"], bool(annotation.get("iscrowd", 0))
    # Crowds and people without a labeled joint are common in these files: they are not reported as problems.
    if not keep_unlabeled and (crowd or joints.max() == 0):
        return None
    lacks_area = area_of_box is None and "area" not in annotation
    try:
        x, y, w, h = (float(value) for value in annotation["bbox"])
        stated = area_of_box is None and not lacks_area
        area = float(annotation["area"]) if stated else (area_of_box or AREA_OF_BOX) * w * h
    except (KeyError, TypeError, ValueError):
        needs = "'bbox' of four numbers" + (" and an 'area' that is a number" if area_of_box is None else "")
        problems.stop("bad annotation", file, f"a person needs a {needs}", identity)
        return None
    if lacks_area:
        problems.skip("no area", file, f"OKS uses {AREA_OF_BOX:g} of the box's area, {area:.0f}", identity)
    if not np.isfinite([x, y, w, h, area]).all():
        problems.stop("bad annotation", file, "'bbox' or 'area' is not a finite number", identity)
        return None
    width, height = image["width"], image["height"]
    if area_of_box is None and area <= 0:
        problems.skip("zero-area person", file, f"area is {area:g}", identity)
        return None
    box = clip_box((x, y, w, h), width, height)
    if box is None:
        problems.skip(
            "box outside the image", file, f"box {[x, y, w, h]} lies outside the {width}x{height} image", identity
        )
        return None
    if box[2] <= 0 and box[3] <= 0:
        # The published code keeps it and crops with a scale of zero, which gives an empty crop.
        problems.skip("zero-area person", file, f"box {[x, y, w, h]} has no extent within the image", identity)
        return None
    if min(x, y) < -1 or x + w > width + 1 or y + h > height + 1:
        problems.skip("box clipped", file, f"box {[x, y, w, h]} exceeds the {width}x{height} image", identity)
    return Person(
        joints=joints,
        annotation_id=identity,
        box=box,
        area=area,
        is_crowd=crowd,
        stated_box=(x, y, w, h),
        category_id=annotation.get("category_id", 1),
    )


def score_entries(
    entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
) -> Evaluation:
    """Score by COCO's keypoint AP."""
    metrics = coco_keypoint_ap(found.ground_truth.without(without), entries, sigmas=list(found.skeleton.sigmas))
    return Evaluation("COCO AP", metrics["AP"], metrics, format_coco(metrics, name))


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
    check_ground_truth=check_ground_truth,
    has_annotations=has_annotations,
    titles=COCO_TITLES,
    merge=merge_annotations,
)
