"""What a layout is, and a split that was read by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pose_core.data.diagnostics import Problems
from pose_core.evaluation.report import Evaluation
from pose_core.layouts.merge import Merged
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord


class Read(Protocol):
    """Read the images of a split as its annotation file has them.

    ``keep_unlabeled`` keeps crowds and people without labeled joints, where a layout has such, for methods that look at
    whole images.
    """

    def __call__(
        self, root: Path, split: str, skeleton: Skeleton, problems: Problems, *, keep_unlabeled: bool = False
    ) -> tuple[ImageRecord, ...]: ...


class ScoreEntries(Protocol):
    """Score COCO result entries on the annotations of ``found`` without the images ``without``; ``name`` is the row's.

    Entries are mappings with ``image_id``, ``category_id``, ``keypoints`` (x, y, score triples), ``score``, and
    ``bbox`` where a method gives one.
    """

    def __call__(
        self, entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
    ) -> Evaluation: ...


class ScorePoints(Protocol):
    """Score points ``(N, K, 2)`` of the people with annotation ids ``(N,)``, and write them to ``file``.

    They are 0-based pixels. People of the split who are not among them count as missed. The file is written as the
    benchmark's own tools read it, and only where ``write``: one process does.
    """

    def __call__(
        self, points: np.ndarray, ids: np.ndarray, found: AnnotatedSet, name: str, file: Path, *, write: bool
    ) -> Evaluation: ...


@dataclass(frozen=True)
class AnnotatedSet:
    """A split that was read: its images, whose joints they carry, and where they came from."""

    records: tuple[ImageRecord, ...]
    skeleton: Skeleton
    layout: Layout
    root: Path
    split: str
    annotation_file: Path
    problems: Problems = field(default_factory=Problems, compare=False)

    @property
    def num_persons(self) -> int:
        return sum(len(record.persons) for record in self.records)

    @property
    def has_annotations(self) -> bool:
        """False for test splits, whose annotations are kept by an evaluation server."""
        return self.layout.has_annotations(self.split, self.annotation_file)


def _always(split: str, file: Path) -> bool:
    return True


def _accept(found: AnnotatedSet) -> None:
    pass


def _annotations_alone(found: AnnotatedSet) -> tuple[Path, ...]:
    return (found.annotation_file,)


@dataclass(frozen=True, eq=False)
class Layout:
    """One published folder layout: how its annotations are found, read, checked and scored.

    People are scored as COCO result entries (``score_entries``, by OKS) or as points in rows of annotated people
    (``score_points``, by PCK); methods that look at whole images have entries only.
    """

    name: str
    """As ``data.layout`` says it."""
    skeleton: str
    """The usual joint set."""
    train: str
    """The usual training split."""
    val: str
    """The split that published results are of."""
    splits: tuple[str, ...]
    """The splits that ``pose data check`` reads unless told otherwise."""
    expected: str
    """What stands below the root, as lines to print; ``<split>`` is the split's name."""
    annotation_file: Callable[[Path, str], Path]
    """The annotation file of a split, from the root and the split; it need not exist."""
    read: Read
    score_entries: ScoreEntries | None = None
    score_points: ScorePoints | None = None
    check_ground_truth: Callable[[AnnotatedSet], None] = _accept
    """Refuse, before anything is predicted, annotations that could not be scored with."""
    ground_truth_files: Callable[[AnnotatedSet], Sequence[Path]] = _annotations_alone
    """The files that scoring reads."""
    has_annotations: Callable[[str, Path], bool] = _always
    """Whether a split, read from an annotation file, has annotations to score with."""
    scores_missing_images: bool = True
    """Whether people count as missed whose images are not there (and skipped by ``data.on_bad_image=skip``)."""
    area_of_box: float | None = None
    """A person's area as a share of its box, where the annotations state none."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The metrics shown in a table of results, by their keys; all of them as they are called, where empty."""
    merge: Callable[[Sequence[Path], Path], Merged] | None = None
    """Write several annotation files as one, where that can be done."""
