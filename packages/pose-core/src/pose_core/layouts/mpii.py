"""MPII: the JSON files of HRNet (``annot/<split>.json``), the HDF5 files of the hourglass, or the MATLAB release.

All are 1-based and annotate a center and a scale instead of a box. The published correction moves the center down by
15 pixels per scale, so that the crop is less likely to cut the feet, and pads the scale by 1.25.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.h5_file import read_people
from pose_core.data.numbers import FAR, is_number, number_list, number_rows, whole_number, within
from pose_core.data.sources import find_images, image_source
from pose_core.errors import DataError
from pose_core.evaluation.analysis import Analysis
from pose_core.evaluation.analyze_points import analyze_points
from pose_core.evaluation.mpii import EXCLUDED, GROUPS, check_same_people, mpii_pckh, read_heads
from pose_core.evaluation.report import Evaluation, format_pck, not_scored
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.points import points_by_person, read_points, write_points
from pose_core.reading.json_text import read_json
from pose_core.reading.matlab import read_matlab
from pose_core.reading.printable import shown
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

EXPECTED = """\
annot/<split>.json    (train, valid, trainval, test), or <split>.h5 here or in annot/ (imgname, part, center, scale),
                      or mpii_human_pose_v1_u12_1.mat here or in annot/ (its splits are trainval and test)
annot/gt_valid.mat    (for PCKh)
images/ or images.zip"""

RELEASE = "mpii_human_pose_v1_u12_1.mat"
RELEASE_SPLITS = ("trainval", "test")
PADDING = 1.25
CENTER_DROP = 15.0


def annotation_file(root: Path, split: str) -> Path:
    """Return the first file that exists of a split's JSON file, its HDF5 file and the release; else the JSON file."""
    file = root / "annot" / f"{split}.json"
    names = [f"{split}.h5", RELEASE] if split in RELEASE_SPLITS else [f"{split}.h5"]
    others = (folder / name for name in names for folder in (root, root / "annot"))
    return file if file.exists() else next((other for other in others if other.exists()), file)


def read_mpii(
    root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
) -> tuple[ImageRecord, ...]:
    """Read the images of a split. A person's ``annotation_id`` is its row in the file, 0-based.

    Splits ``train`` and ``trainval`` drop people without a labeled joint. Other splits keep every person: the rows of
    ``gt_valid.mat`` are in the same order, and a prediction's row is its ``annotation_id``.
    """
    file = annotation_file(root, split)
    if file.suffix == ".mat":
        rows = persons_from_release(file, split, skeleton)
    elif file.suffix == ".h5":
        rows = persons_from_h5(file, skeleton, problems)
    else:
        rows = persons_from_json(read_json(file), file, skeleton, problems)
    kept = list(_labeled(rows, file, problems) if split in {"train", "trainval"} else rows)
    return group_by_image(kept, find_images(root / "images"))


def group_by_image(rows: Iterable[tuple[str, Person]], place: Path) -> tuple[ImageRecord, ...]:
    """Return one record per image name, in order of first appearance, with the position as image id."""
    people: dict[str, list[Person]] = {}
    for name, person in rows:
        people.setdefault(name, []).append(person)
    return tuple(
        ImageRecord(image_id=number, source=image_source(place, name), persons=tuple(persons))
        for number, (name, persons) in enumerate(people.items())
    )


def correct_center_scale(
    center: tuple[float, float], scale: float, *, drop: float = CENTER_DROP, base: float = 1.0
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Apply the published correction, then go from ``base``-based to 0-based pixels; a center x of −1 marks "none"."""
    x, y = center
    if x != -1:
        y, scale = y + drop * scale, scale * PADDING
    return (x - base, y - base), (scale, scale)


def place_fault(center: np.ndarray, scale: float) -> str:
    """Return what is wrong with a center ``(2,)`` and a scale in units of 200 pixels, or an empty text."""
    if not within(np.append(center, scale * PIXEL_STD)):
        return (
            f"center {center.tolist()}, scale {scale:g}: a coordinate is not a finite number within ±{FAR:.0f} pixels"
        )
    if scale < 0 and center[0] != -1:
        return f"scale {scale:g} is negative"
    return ""


def joints_fault(points: np.ndarray) -> str:
    """Return what is wrong with joints' coordinates, or an empty text."""
    return "" if within(points) else f"a coordinate is not a finite number within ±{FAR:.0f} pixels"


def persons_from_json(content: Any, file: Path, skeleton: Skeleton, problems: Problems) -> Iterator[tuple[str, Person]]:
    """Yield image name and person of every row of an HRNet-style file; joints are zero in files without them (test)."""
    if not isinstance(content, list):
        raise DataError(f"{file} is not an MPII annotation file: it must hold a list of people")
    for row, entry in enumerate(content):
        entry = entry if isinstance(entry, dict) else {}
        name, scale = entry.get("image"), entry.get("scale")
        middle = number_list(entry.get("center"), 2)
        if not isinstance(name, str) or middle is None or not is_number(scale):
            text = "a person needs 'image', 'center' [x, y] and 'scale'; one is missing or not a finite number"
            problems.stop("bad annotation", file, text, row)
            continue
        joints = np.zeros((skeleton.num_joints, 3), np.float32)
        if "joints" in entry:
            points, seen = entry["joints"], entry.get("joints_vis", [])
            if not all(isinstance(each, list) and len(each) == skeleton.num_joints for each in (points, seen)):
                have, flagged = (len(each) if isinstance(each, list) else 0 for each in (points, seen))
                problems.stop("wrong joint count", file, _count_text(have, flagged, skeleton), row)
                continue
            table, flags = number_rows(points, 2), number_list(seen)
            if table is None or flags is None:
                text = f"'joints' must be pairs of finite numbers within ±{FAR:.0f} pixels, 'joints_vis' numbers"
                problems.stop("bad annotation", file, text, row)
                continue
            joints[:, :2] = table.astype(np.float32) - 1
            # The file marks joints as labeled or not; only the release marks hidden ones.
            joints[:, 2] = np.where(flags > 0, 2, 0)
        fault = place_fault(middle, scale)
        if fault:
            problems.stop("bad annotation", file, fault, row)
            continue
        center, scales = correct_center_scale((float(middle[0]), float(middle[1])), float(scale))
        yield name, Person(joints=joints, annotation_id=row, center=center, scale=scales)


def persons_from_h5(file: Path, skeleton: Skeleton, problems: Problems) -> Iterator[tuple[str, Person]]:
    """Yield image name and person of every row of the hourglass's HDF5 files.

    A joint counts as labeled if its x is positive. The published hourglass code treats these 1-based pixels as
    0-based; here a person has the same coordinates from every file format.
    """
    columns = read_people(file, "an MPII annotation file", skeleton)
    for row, name in enumerate(columns.names):
        part, (x, y), scale = columns.parts[row], columns.centers[row].tolist(), float(columns.scales[row])
        fault = place_fault(columns.centers[row], scale) or joints_fault(part)
        if fault:
            problems.stop("bad annotation", file, f"{shown(name)}: {fault}", row)
            continue
        joints = np.concatenate([part - 1, np.where(part[:, :1] > 0, 2, 0)], 1).astype(np.float32)
        center, scales = correct_center_scale((x, y), scale)
        yield name, Person(joints=joints, annotation_id=row, center=center, scale=scales)


def persons_from_release(file: Path, split: str, skeleton: Skeleton) -> Iterator[tuple[str, Person]]:
    """Yield image name and person of every annotated person of the official release."""
    release = read_matlab(file, "RELEASE", "MPII's official annotation file", structs=True)
    row, number = 0, 0
    try:
        images, training = np.atleast_1d(release.annolist), np.atleast_1d(release.img_train)
        for number, (image, is_training) in enumerate(zip(images, training, strict=True)):
            if bool(is_training) != (split == "trainval"):
                continue
            name = image.image.name
            if not isinstance(name, str):
                raise TypeError(f"the name of image {number} is {shown(name)}")
            for rect in np.atleast_1d(image.annorect):
                person = _release_person(rect, row, skeleton)
                if person is None:
                    continue
                row += 1
                yield name, person
    except (AttributeError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{file} is damaged at image {number}: {error}; fetch it again") from None


def _release_person(rect: Any, row: int, skeleton: Skeleton) -> Person | None:
    """Return a person of the release, or None for a rectangle without position or scale."""
    place: Any = getattr(rect, "objpos", None)
    scale: Any = getattr(rect, "scale", ())
    x: Any = getattr(place, "x", ())
    y: Any = getattr(place, "y", ())
    if not (np.size(x) and np.size(y) and np.size(scale)):
        return None
    joints = np.zeros((skeleton.num_joints, 3), np.float32)
    points = getattr(rect, "annopoints", None)
    for point in np.atleast_1d(getattr(points, "point", ())):
        joint = whole_number(float(point.id))
        if joint is None or not 0 <= joint < skeleton.num_joints:
            raise ValueError(f"joint id {shown(point.id)}, but skeleton {skeleton.name!r} has no such joint")
        visible = getattr(point, "is_visible", None)
        # Points without this field (always head and neck) count as visible, as in the published JSON files.
        hidden = visible is not None and np.size(visible) > 0 and int(np.ravel(visible)[0]) == 0
        joints[joint] = float(point.x) - 1, float(point.y) - 1, 1 if hidden else 2
    fault = place_fault(np.array([float(x), float(y)]), float(scale)) or joints_fault(joints)
    if fault:
        raise ValueError(f"person {row}: {fault}")
    center, scales = correct_center_scale((float(x), float(y)), float(scale))
    head = None
    if all(np.size(getattr(rect, key, ())) for key in ("x1", "y1", "x2", "y2")):
        left, top = float(rect.x1) - 1, float(rect.y1) - 1
        head = (left, top, float(rect.x2) - 1 - left, float(rect.y2) - 1 - top)
        if not within(np.array(head)):
            raise ValueError(f"person {row}: the head's box {list(head)} is not one of finite numbers within an image")
    return Person(joints=joints, annotation_id=row, center=center, scale=scales, head_box=head)


def _labeled(rows: Iterable[tuple[str, Person]], file: Path, problems: Problems) -> Iterator[tuple[str, Person]]:
    for name, person in rows:
        if not person.num_labeled:
            continue
        if person.scale is not None and person.scale[0] == 0:
            problems.skip("zero-area person", file, f"{name}: scale is 0", person.annotation_id)
            continue
        yield name, person


def _count_text(points: int, seen: int, skeleton: Skeleton) -> str:
    return (
        f"{points} joints and {seen} 'joints_vis', but skeleton {skeleton.name!r} has {skeleton.num_joints}; "
        "correct the file or set data.skeleton"
    )


def score_points(
    points: np.ndarray, ids: np.ndarray, found: AnnotatedSet, name: str, file: Path, *, write: bool
) -> Evaluation:
    """Score by MPII's PCKh, with one row for each row of the annotation file."""
    truth = pckh_file(found)
    count = max((person.annotation_id for record in found.records for person in record.persons), default=-1) + 1
    if found.has_annotations and found.problems.counts["image missing"]:
        # The last rows may belong to missing images.
        count = max(count, read_matlab(truth, "pos_gt_src", "MPII's ground truth for PCKh").shape[2])
    rows = points_by_person(points, ids, range(count))
    if write:
        write_points(file, rows)
    if not found.has_annotations:
        return not_scored(f"The annotations of {found.split} are not public: not scored. Predictions: {file}")
    metrics = mpii_pckh(rows, truth, left_out=found.left_out)
    return Evaluation("MPII PCKh@0.5", metrics["Mean"], metrics, format_pck(metrics, name))


def analyze_rows(found: AnnotatedSet, file: Path, *, without: Set[int] = frozenset()) -> Analysis:
    """Analyze the errors of a ``pred.mat`` by PCKh."""
    people = {
        person.annotation_id: record.image_id
        for record in found.records
        for person in record.persons
        if record.image_id not in without
    }
    ids = sorted(people)
    joints, size = read_heads(pckh_file(found))
    if ids and ids[-1] >= len(joints):
        raise DataError(f"{pckh_file(found)} has {len(joints)} people, but {found.annotation_file} has row {ids[-1]}")
    return analyze_points(
        read_points(file, ids), joints[ids], size[ids], found.skeleton,
        image=np.array([people[identity] for identity in ids]), metric="PCKh@0.5", threshold=0.5, excluded=EXCLUDED,
        parts=GROUPS,
    )  # fmt: skip


def check_ground_truth(found: AnnotatedSet) -> None:
    """Raise a DataError if the people are not those of the ground truth for PCKh, or if that cannot be read."""
    if not found.has_annotations:
        return
    people = {person.annotation_id: person.joints for record in found.records for person in record.persons}
    if found.annotation_file.suffix == ".h5":  # has another origin
        check_same_people(people, pckh_file(found), found.annotation_file)
    elif not found.problems.counts["image missing"]:
        mpii_pckh(np.zeros((max(people, default=-1) + 1, 16, 2)), pckh_file(found))


def pckh_file(found: AnnotatedSet) -> Path:
    """Return the file with the ground truth for PCKh."""
    return found.root / "annot" / f"gt_{found.split}.mat"


def ground_truth_files(found: AnnotatedSet) -> tuple[Path, ...]:
    """Return the annotation file and the ground truth for PCKh."""
    return found.annotation_file, pckh_file(found)


def has_annotations(split: str, file: Path) -> bool:
    """Return whether the split is not a test split."""
    return "test" not in split


MPII = Layout(
    name="mpii",
    skeleton="mpii16",
    train="train",
    val="valid",
    splits=("train", "valid"),
    expected=EXPECTED,
    annotation_file=annotation_file,
    read=read_mpii,
    score_points=score_points,
    analyze=analyze_rows,
    check_ground_truth=check_ground_truth,
    ground_truth_files=ground_truth_files,
    has_annotations=has_annotations,
)
