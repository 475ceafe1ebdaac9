"""Leeds Sports Pose and its extension.

LSP's ``joints.mat`` holds 3 x 14 x N numbers, x, y and *occluded*: every joint is labeled. LSP-extended holds
14 x 3 x N, x, y and *visible*: an invisible joint is not labeled. Both are 1-based, as MATLAB counts.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.numbers import FAR, numeric, within
from pose_core.data.sources import find_images, image_source
from pose_core.errors import DataError
from pose_core.evaluation.analysis import Analysis
from pose_core.evaluation.analyze_points import analyze_points
from pose_core.evaluation.lsp import LSP_GROUPS, THRESHOLD, lsp_pck, torso_sizes
from pose_core.evaluation.mpii import EXCLUDED, GROUPS
from pose_core.evaluation.report import Evaluation, format_pck, not_scored
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.points import points_by_person, read_points, write_points
from pose_core.reading.matlab import read_matlab
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
joints.mat            (3 x 14 x N for LSP: the first half is train, the second test; 14 x 3 x N for LSP-extended: train)
images/ or images.zip (im0001.jpg …; im00001.jpg … in LSP-extended)"""


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file, which holds all splits."""
    return root / "joints.mat"


def read_lsp(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read one person per image, with the box around its labeled joints. Ids are LSP's image numbers, from 1."""
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


def _read_joints(file: Path, skeleton: Skeleton) -> tuple[np.ndarray, bool]:
    """Return joints ``(N, K, 3)``, 0-based with COCO's visibility, and True if the file is LSP-extended."""
    count = skeleton.num_joints
    stored = numeric(read_matlab(file, "joints", "LSP's joints.mat"))
    if stored is None:
        raise DataError(f"{file}: 'joints' does not hold numbers; fetch it again")
    joints = stored.astype(np.float32)
    extended = joints.ndim == 3 and joints.shape[:2] == (count, 3)
    if extended:
        joints = joints.transpose(2, 0, 1)
    elif joints.ndim == 3 and joints.shape[:2] == (3, count):
        joints = joints.transpose(2, 1, 0)
    else:
        raise DataError(f"{file}: 'joints' has the shape {joints.shape}, expected (3, {count}, N) or ({count}, 3, N)")
    flag = joints[..., 2] > 0
    visibility = np.where(flag, 2, 0) if extended else np.where(flag, 1, 2)
    visibility[~joints[..., :2].any(-1)] = 0  # a 1-based file has no pixel (0, 0)
    return np.concatenate([joints[..., :2] - 1, visibility[..., None]], -1).astype(np.float32), extended


def _person_from_joints(
    joints: np.ndarray, identity: int, file: Path, problems: Problems, *, training: bool
) -> Person | None:
    """Return a person with the box around its labeled joints; test people are never dropped, to keep the row order."""
    if not within(joints[:, :2]):
        text = f"a coordinate is not a finite number within ±{FAR:.0f} pixels"
        problems.stop("bad annotation", file, text, identity)
        return None
    points = joints[joints[:, 2] > 0, :2]
    extent = points.max(0) - points.min(0) if len(points) else np.zeros(2)
    if not extent.any():
        if not training:
            problems.stop("zero-area person", file, "a test person needs labeled joints at different points", identity)
        else:
            problems.skip("zero-area person", file, f"the box around {len(points)} labeled joints is empty", identity)
        return None
    left, top = (float(value) for value in points.min(0))
    width, height = (float(value) for value in extent)
    return Person(joints=joints, annotation_id=identity, box=(left, top, width, height), area=width * height)


def score_points(
    points: np.ndarray, ids: np.ndarray, found: AnnotatedSet, name: str, file: Path, *, write: bool
) -> Evaluation:
    """Score by LSP's PCK, with one row for each person that was read."""
    people = {person.annotation_id: person.joints for record in found.records for person in record.persons}
    order = sorted(people)
    rows = points_by_person(points, ids, order)
    if write:
        write_points(file, rows)
    if not found.has_annotations:
        return not_scored(f"The annotations of {found.split} are not public: not scored. Predictions: {file}")
    metrics = lsp_pck(rows, np.stack([people[identity] for identity in order]), left_out=found.left_out)
    return Evaluation("LSP PCK@0.2", metrics["Mean"], metrics, format_pck(metrics, name))


def analyze_rows(found: AnnotatedSet, file: Path, *, without: Set[int] = frozenset()) -> Analysis:
    """Analyze the errors of a ``pred.mat`` by PCK; every joint counts as labeled, as it does in scoring."""
    people = {
        person.annotation_id: (person.joints, record.image_id)
        for record in found.records
        for person in record.persons
        if record.image_id not in without
    }
    ids = sorted(people)
    joints = np.array([people[identity][0] for identity in ids], np.float64).reshape(len(ids), -1, 3)
    joints[..., 2] = 1
    is_lsp = found.skeleton.num_joints == 14
    return analyze_points(
        read_points(file, ids), joints, torso_sizes(joints), found.skeleton,
        image=np.array([people[identity][1] for identity in ids]), metric=f"PCK@{THRESHOLD}", threshold=THRESHOLD,
        excluded=() if is_lsp else EXCLUDED, parts=LSP_GROUPS if is_lsp else GROUPS,
    )  # fmt: skip


LSP = Layout(
    name="lsp",
    skeleton="lsp14",
    train="train",
    val="test",
    splits=("train", "test"),
    expected=EXPECTED,
    annotation_file=annotation_file,
    read=read_lsp,
    score_points=score_points,
    analyze=analyze_rows,
    scores_missing_images=False,
)
