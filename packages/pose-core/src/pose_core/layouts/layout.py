"""The `Layout` class, and the split of a data set that a layout reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.evaluation.analysis import Analysis
from pose_core.evaluation.keypoint_files import GroundTruth, read_ground_truth
from pose_core.evaluation.report import Evaluation
from pose_core.layouts.merge import Merged
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord

__all__ = ["Analyze", "AnnotatedSet", "Layout", "Read", "ScoreEntries", "ScorePoints"]


class Read(Protocol):
    """Read the images of a split in the order of its annotation file.

    ``keep_unlabeled`` keeps crowds and people without labeled joints, if a layout has them, for methods that process
    whole images.
    """

    def __call__(
        self, root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
    ) -> tuple[ImageRecord, ...]: ...


class ScoreEntries(Protocol):
    """Score COCO result entries on the annotations of ``found``, except the images ``without``.

    ``name`` labels the row of the report's table. Entries are mappings with ``image_id``, ``category_id``,
    ``keypoints`` (x, y, score triples), ``score``, and ``bbox`` if a method gives one.
    """

    def __call__(
        self, entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
    ) -> Evaluation: ...


class ScorePoints(Protocol):
    """Score points ``(N, K, 2)``, 0-based pixels, of the people with annotation ids ``(N,)``.

    People of the split without points count as missed. If ``write``, which only one process sets, the points are
    written to ``file`` in the format that the benchmark's own tools read.
    """

    def __call__(
        self, points: np.ndarray, ids: np.ndarray, found: AnnotatedSet, name: str, file: Path, *, write: bool
    ) -> Evaluation: ...


class Analyze(Protocol):
    """Analyze the errors of predictions, in a file that scoring ``found`` wrote, except on the images ``without``."""

    def __call__(self, found: AnnotatedSet, file: Path, *, without: Set[int] = frozenset()) -> Analysis: ...


@dataclass(frozen=True)
class AnnotatedSet:
    """A split that was read: its images, the skeleton of their joints, and the files they came from."""

    records: tuple[ImageRecord, ...]
    skeleton: Skeleton
    layout: Layout
    root: Path
    split: str
    annotation_file: Path
    problems: Problems = field(default_factory=Problems, compare=False)
    left_out: tuple[int, ...] = ()
    """Joints that are not scored."""

    @property
    def name(self) -> str:
        """The split's name, for names of files; that of a split that is a file is the file's, without the ending."""
        name = Path(self.split).stem if self.split.endswith(".json") else self.split
        return re.sub(r"[/\\\x00-\x1f]+", "_", name)

    @property
    def category_id(self) -> int:
        """COCO's category of the people, the lowest if there are several."""
        return min((person.category_id for record in self.records for person in record.persons), default=1)

    @cached_property
    def ground_truth(self) -> GroundTruth:
        """The annotations to score COCO entries with, read once; they include images without people, and crowds."""
        joints, area = self.skeleton.num_joints, self.layout.area_of_box
        truth = read_ground_truth(self.annotation_file, joints, area_of_box=area, skeleton=self.skeleton)
        return truth.without_joints(self.left_out)

    @property
    def num_persons(self) -> int:
        """The number of people in all images."""
        return sum(len(record.persons) for record in self.records)

    @property
    def has_annotations(self) -> bool:
        """Whether the split can be scored: false for test splits, whose annotations only an evaluation server has."""
        return self.layout.has_annotations(self.split, self.annotation_file)


def _always(split: str, file: Path) -> bool:
    return True


def _accept(found: AnnotatedSet) -> None:
    pass


def _annotations_alone(found: AnnotatedSet) -> tuple[Path, ...]:
    return (found.annotation_file,)


@dataclass(frozen=True, eq=False)
class Layout:
    """One published folder layout: functions that find, read, check and score its annotations.

    Predictions are scored as COCO result entries (``score_entries``, by OKS) or as points of annotated people
    (``score_points``, by PCK); methods that process whole images produce entries only.
    """

    name: str
    """The value of ``data.layout``."""
    skeleton: str
    """The usual joint set."""
    train: str
    """The usual training split."""
    val: str
    """The split that published results are reported on."""
    splits: tuple[str, ...]
    """The splits that ``pose data check`` reads by default."""
    expected: str
    """The files below the root, as lines to print; ``<split>`` is the split's name."""
    annotation_file: Callable[[Path, str], Path]
    """Return the annotation file of a split, given the root and the split; it need not exist."""
    read: Read
    score_entries: ScoreEntries | None = None
    score_points: ScorePoints | None = None
    analyze: Analyze | None = None
    """Return the error analysis of a results file; None if the layout has none."""
    check_ground_truth: Callable[[AnnotatedSet], None] = _accept
    """Raise a DataError, before prediction starts, for annotations that cannot be scored with."""
    ground_truth_files: Callable[[AnnotatedSet], Sequence[Path]] = _annotations_alone
    """Return the files that scoring reads."""
    has_annotations: Callable[[str, Path], bool] = _always
    """Return whether a split, given its annotation file, has annotations to score with."""
    scores_missing_images: bool = True
    """Whether people count as missed if their image is missing and skipped by ``data.on_bad_image=skip``."""
    area_of_box: float | None = None
    """A person's area as a fraction of its box's area, for annotations without areas."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Column titles of the metrics shown in a results table, by key; if empty, all metrics under their keys."""
    merge: Callable[[Sequence[Path], Path], Merged] | None = None
    """Write several annotation files as one; None if the layout does not support that."""
