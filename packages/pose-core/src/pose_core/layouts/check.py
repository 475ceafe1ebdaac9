"""Check a data set before training: its layout, counts, and every problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.data.images import missing_images, open_bgr
from pose_core.data.sources import images_below
from pose_core.errors import DataError
from pose_core.folders import find_data_root
from pose_core.layouts.layout import AnnotatedSet, Layout
from pose_core.layouts.table import get_layout, looks_like
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord

Decode = Literal["none", "sample", "all"]
SAMPLE = 100
"""The number of images of a split, evenly spaced, that ``decode="sample"`` opens."""


@dataclass
class SplitReport:
    """The counts and problems of one split."""

    split: str
    annotation_file: Path
    problems: Problems = field(default_factory=lambda: Problems(keep_going=True))
    images: int = 0
    with_people: int = 0
    persons: int = 0
    others: int = 0
    """Crowd regions and people without labeled joints."""
    labeled: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``(K,)``: for each joint, the number of people who have it labeled."""
    missing: int = 0
    decoded: int = 0

    @property
    def ok(self) -> bool:
        """Whether the split has no problem that would stop training."""
        return not self.problems.stopping


@dataclass(frozen=True)
class CheckReport:
    """The counts and problems of a data set; ``print(report)`` shows them."""

    layout: Layout
    root: Path
    skeleton: Skeleton
    splits: tuple[SplitReport, ...]

    @property
    def ok(self) -> bool:
        """Whether no split has a problem that would stop training."""
        return all(split.ok for split in self.splits)

    def __str__(self) -> str:
        lines = [f"layout {self.layout.name} below {self.root}, skeleton {self.skeleton.name}; expected:"]
        lines += [f"    {line}" for line in self.layout.expected.splitlines()]
        for split in self.splits:
            lines += ["", *_describe(split, self.skeleton)]
        lines += ["", "ok" if self.ok else "not ok: the problems marked 'stops' must be fixed first"]
        return "\n".join(lines)


def check_dataset(
    layout: str,
    root: str | Path,
    splits: Sequence[str] | None = None,
    decode: Decode = "sample",
    skeleton: str | None = None,
    allowed_folders: Sequence[str] = (),
) -> CheckReport:
    """Read ``splits`` completely, despite any problems, and decode none, a sample or all of their images.

    By default, use the layout's usual splits and joint set. ``allowed_folders`` is ``data.allowed_folders``.
    """
    chosen, folder = get_layout(layout), find_data_root(str(root))
    joints = get_skeleton(skeleton or chosen.skeleton)
    reports = tuple(
        _check_split(chosen, folder, split, decode, joints, allowed_folders) for split in splits or chosen.splits
    )
    return CheckReport(chosen, folder, joints, reports)


def _check_split(
    layout: Layout, root: Path, split: str, decode: Decode, skeleton: Skeleton, allowed_folders: Sequence[str]
) -> SplitReport:
    report = SplitReport(split, layout.annotation_file(root, split))
    if not report.annotation_file.exists():
        remark = looks_like(root, layout, "--layout")
        hint = f"; {remark}" if remark else ""
        report.problems.stop("missing file", report.annotation_file, f"does not exist{hint}")
        return report
    whole = Problems(keep_going=True)
    try:
        with images_below(root, allowed_folders):
            records = layout.read(root, split, skeleton, report.problems)
            everyone = layout.read(root, split, skeleton, whole, keep_unlabeled=True)
            missing = missing_images(records)
    except DataError as error:
        report.problems.stop("malformed file", split, str(error))
        return report
    if whole.stopping != report.problems.stopping:
        report.problems = whole  # methods that process whole images also read crowds
    report.images, report.missing = len(records), len(missing)
    report.with_people = sum(bool(record.persons) for record in records)
    report.persons = sum(len(record.persons) for record in records)
    report.others = sum(len(record.persons) for record in everyone) - report.persons
    found = AnnotatedSet(records, skeleton, layout, root, split, report.annotation_file)
    _check_evaluation(found, report)
    report.labeled = np.zeros(skeleton.num_joints, np.int64)
    for record in records:
        for person in record.persons:
            report.labeled += person.joints[:, 2] > 0
    for record in missing:
        report.problems.stop("image missing", record.source, f"image id {record.image_id}")
    missing_ids = {record.image_id for record in missing}
    for record in _chosen([record for record in records if record.image_id not in missing_ids], decode):
        _open(record, report)
    return report


def _check_evaluation(found: AnnotatedSet, report: SplitReport) -> None:
    """Read the annotations as evaluation does."""
    layout = found.layout
    if not found.has_annotations or not report.ok:
        return
    if not report.persons:
        report.problems.stop("no people", found.annotation_file, "has no annotated person to train or evaluate on")
    # A split that is only trained on needs no ground truth for a benchmark's own tool.
    if found.split == layout.val or all(file.exists() for file in layout.ground_truth_files(found)):
        try:
            layout.check_ground_truth(found)
        except DataError as error:
            report.problems.stop("refused by evaluation", found.annotation_file, str(error))


def _chosen(records: list[ImageRecord], decode: Decode) -> list[ImageRecord]:
    if decode == "all" or (decode == "sample" and len(records) <= SAMPLE):
        return records
    if decode == "none":
        return []
    return [records[i] for i in np.linspace(0, len(records) - 1, SAMPLE).astype(int)]


def _open(record: ImageRecord, report: SplitReport) -> None:
    problems = report.problems
    try:
        image = open_bgr(record.source)
    except DataError as error:
        problems.stop("image does not decode", record.source, str(error))
        return
    report.decoded += 1
    height, width = image.shape[:2]
    if record.width and (record.width, record.height) != (width, height):
        problems.skip(
            "image size differs", record.source, f"{width}x{height}, but annotated as {record.width}x{record.height}"
        )


def _describe(report: SplitReport, skeleton: Skeleton) -> list[str]:
    present = report.images - report.missing
    lines = [
        f"{report.split}: {report.annotation_file}",
        f"    {report.images} images ({present} present, {report.decoded} opened), {report.with_people} with people",
        f"    {report.persons} {'person' if report.persons == 1 else 'people'} to train or evaluate on",
    ]
    if report.others:
        others = "crowd region or person" if report.others == 1 else "crowd regions and people"
        lines.append(f"    not counted: {report.others} {others} without labeled joints")
    if report.persons:
        width = max(map(len, skeleton.joints))
        lines += [
            f"      {name:<{width}} {count:>8} labeled ({count / report.persons:.0%})"
            for name, count in zip(skeleton.joints, report.labeled.tolist(), strict=True)
        ]
    return lines + [f"    {line}" for line in report.problems.summary().splitlines()]
