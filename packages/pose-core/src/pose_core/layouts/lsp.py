"""Leeds Sports Pose, its extension, and the file that merges it with MPII.

LSP's ``joints.mat`` holds 3 x 14 x N numbers, x, y and *occluded*: every joint is labelled. LSP-extended holds
14 x 3 x N, x, y and *visible*: an invisible joint is not labelled. Both are 1-based, as MATLAB counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.h5_file import read_people
from pose_core.data.images import find_images, image_source
from pose_core.data.mat_file import read_matlab
from pose_core.errors import DataError
from pose_core.layouts.mpii import CENTER_DROP, correct_center_scale
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
joints.mat            (3 x 14 x N for LSP: the first half is train, the second test; 14 x 3 x N for LSP-extended: train)
images/ or images.zip (im0001.jpg …; im00001.jpg … in LSP-extended)"""

EXPECTED_MERGED = """\
lsp_mpii.h5                  (imgname, part, center, scale, istrain)
mpii/images/…, lsp/images/…  (as the paths in imgname say)"""

MERGED_SPLITS = {"train": 1, "val": 2, "test": 0}
"""The file's own numbers: MPII and LSP training people, LSP's test people, MPII's test people."""


def annotation_file(root: Path, split: str) -> Path:
    return root / "joints.mat"


def merged_annotation_file(root: Path, split: str) -> Path:
    return root / "lsp_mpii.h5"


def read_lsp(
    root: Path, split: str, skeleton: Skeleton, *, problems: Problems | None = None
) -> tuple[ImageRecord, ...]:
    """One person per image, its box the extent of its labelled joints. Ids are LSP's own numbers, from 1."""
    problems = Problems() if problems is None else problems
    file = annotation_file(root, split)
    joints, extended = _read_joints(file, skeleton)
    count = len(joints)
    if split not in {"train", "test"} or (extended and split == "test"):
        has = "train only (LSP-extended has no test people)" if extended else "train and test"
        raise DataError(f"{file} has no split {split!r}: it holds {has}")
    half = count if extended else count // 2
    rows = range(half) if split == "train" else range(half, count)
    place = find_images(root / "images")
    digits = 5 if extended else 4
    records = []
    for row in rows:
        person = _person_from_joints(joints[row], row + 1, file, problems, training=split == "train")
        if person is not None:
            source = image_source(place, f"im{row + 1:0{digits}d}.jpg")
            records.append(ImageRecord(image_id=row + 1, source=source, persons=(person,)))
    return tuple(records)


def read_lsp_mpii(
    root: Path, split: str, skeleton: Skeleton, *, problems: Problems | None = None
) -> tuple[ImageRecord, ...]:
    """People of the merged file; ids are rows. Its coordinates are used as they are, without a 1-based offset.

    A joint counts as labelled where its x is positive. The scale is padded by 1.25; the centre drops by 15 pixels per
    scale for MPII's people only.
    """
    problems = Problems() if problems is None else problems
    file = merged_annotation_file(root, split)
    if split not in MERGED_SPLITS:
        raise DataError(f"{file} has no split {split!r}: it holds {', '.join(MERGED_SPLITS)}")
    columns = read_people(file, "a merged LSP and MPII file", skeleton, extra=("istrain",))
    rows = np.flatnonzero(columns.extra["istrain"] == MERGED_SPLITS[split])
    people: dict[str, list[Person]] = {}
    for row in rows.tolist():
        name, part = columns.names[row], columns.parts[row]
        center, scale = columns.centers[row], float(columns.scales[row])
        seen = part[:, 0] > 0
        if not np.isfinite(part).all() or not np.isfinite([*center, scale]).all():
            problems.stop("bad annotation", file, f"{name}: a coordinate is no finite number", row)
            continue
        if split == "train" and (scale <= 0 or not seen.any()):
            problems.skip("zero-area person", file, f"{name}: scale {scale:g}, {seen.sum()} labelled joints", row)
            continue
        drop = CENTER_DROP if name.split("/")[0] == "mpii" else 0.0
        middle, size = correct_center_scale((float(center[0]), float(center[1])), scale, drop=drop, base=0.0)
        joints = np.concatenate([part, np.where(seen, 2, 0)[:, None]], 1).astype(np.float32)
        people.setdefault(name, []).append(Person(joints, row, center=middle, scale=size))
    return tuple(
        ImageRecord(image_id=number, source=source, persons=tuple(persons))
        for number, (source, persons) in enumerate(_with_sources(root, people))
    )


def _with_sources(root: Path, people: dict[str, list[Person]]) -> Iterator[tuple[str, list[Person]]]:
    """Sources below the root; an image folder may be an archive."""
    places: dict[str, Path] = {}
    for name, persons in people.items():
        folder, _, file = name.rpartition("/")
        if folder not in places:
            places[folder] = find_images(root / folder)
        yield image_source(places[folder], file), persons


def _read_joints(file: Path, skeleton: Skeleton) -> tuple[np.ndarray, bool]:
    """``(N, K, 3)`` 0-based with COCO's visibility, and whether the file is LSP-extended."""
    count = skeleton.num_joints
    joints = np.asarray(read_matlab(file, "joints", "LSP's joints.mat"), np.float32)
    extended = joints.ndim == 3 and joints.shape[:2] == (count, 3)
    if extended:
        joints = joints.transpose(2, 0, 1)
    elif joints.ndim == 3 and joints.shape[:2] == (3, count):
        joints = joints.transpose(2, 1, 0)
    else:
        raise DataError(f"{file}: 'joints' has the shape {joints.shape}, expected (3, {count}, N) or ({count}, 3, N)")
    flag = joints[..., 2] > 0
    visibility = np.where(flag, 2, 0) if extended else np.where(flag, 1, 2)
    visibility[~joints[..., :2].any(-1)] = 0  # (0, 0) is no pixel in a file that counts from 1
    return np.concatenate([joints[..., :2] - 1, visibility[..., None]], -1).astype(np.float32), extended


def _person_from_joints(
    joints: np.ndarray, identity: int, file: Path, problems: Problems, *, training: bool
) -> Person | None:
    """A person boxed by its labelled joints; test people are never dropped, so that predictions keep their rows."""
    if not np.isfinite(joints[:, :2]).all():
        problems.stop("bad annotation", file, "a coordinate is no finite number", identity)
        return None
    points = joints[joints[:, 2] > 0, :2]
    extent = points.max(0) - points.min(0) if len(points) else np.zeros(2)
    if not extent.any():
        if not training:
            problems.stop("zero-area person", file, "a test person needs joints that differ", identity)
        else:
            problems.skip("zero-area person", file, f"{len(points)} labelled joints without extent", identity)
        return None
    left, top = (float(value) for value in points.min(0))
    width, height = (float(value) for value in extent)
    return Person(joints=joints, annotation_id=identity, box=(left, top, width, height), area=width * height)
