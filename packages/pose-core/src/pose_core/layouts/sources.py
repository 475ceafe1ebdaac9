"""The data sets that one training draws from (``data.sources``), each read in the joints of ``data.skeleton``.

A source is scored by its own layout's protocol, on its own annotations: the network's joints are mapped back to the
source's, and joints that the network does not have are left out on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.config import DataConfig, SourceConfig
from pose_core.errors import ConfigError
from pose_core.evaluation.report import Evaluation
from pose_core.joint_maps import JointMap, map_joints
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.points import FAR_AWAY
from pose_core.layouts.reader import check_evaluated, find_annotations, read_dataset
from pose_core.layouts.table import get_layout
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord

__all__ = ["Source", "check_splits", "find_sources", "with_sources"]

Array = np.ndarray


@dataclass(frozen=True)
class Source:
    """One data set of several."""

    name: str
    data: DataConfig
    """The source as a data set of its own, in its own joints."""
    val: str | None
    """The split that is evaluated; None for none."""
    weight: float
    joints: JointMap
    """The network's joints from the source's."""
    skeleton: Skeleton
    """The network's joints."""

    def read(self, split: str, *, keep_unlabeled: bool = False) -> AnnotatedSet:
        """Read a split, and return it in the network's joints, to train on."""
        found = read_dataset(self.data, split, keep_unlabeled=keep_unlabeled)
        return replace(found, records=self._mapped(found.records), skeleton=self.skeleton)

    def read_held_out(self, *, keep_unlabeled: bool = False) -> AnnotatedSet:
        """Read the split ``val``, and return it in the network's joints, to predict and score."""
        assert self.val is not None
        own = read_dataset(self.data, self.val, keep_unlabeled=keep_unlabeled)
        own = replace(own, left_out=tuple(self.joints.source.index(name) for name in self.joints.unused))
        layout = own.layout

        def score_entries(
            entries: list[dict[str, Any]], found: AnnotatedSet, name: str, *, without: Set[int] = frozenset()
        ) -> Evaluation:
            assert layout.score_entries is not None
            return self._named(layout.score_entries(self.own_entries(entries), own, name, without=without))

        def score_points(
            points: Array, ids: Array, found: AnnotatedSet, name: str, file: Path, *, write: bool
        ) -> Evaluation:
            assert layout.score_points is not None
            return self._named(layout.score_points(self.own_points(points), ids, own, name, file, write=write))

        mapped = replace(
            layout,
            score_entries=None if layout.score_entries is None else score_entries,
            score_points=None if layout.score_points is None else score_points,
            check_ground_truth=lambda found: layout.check_ground_truth(own),
            analyze=None,  # results files of the run are in the network's joints
        )
        return replace(own, records=self._mapped(own.records), skeleton=self.skeleton, layout=mapped, left_out=())

    def own_points(self, points: Array) -> Array:
        """Return the network's points ``(N, K, 2)`` as the source's joints; those that it lacks are far away."""
        moved = np.full((len(points), len(self.joints.source), 2), FAR_AWAY, points.dtype)
        own, network = self._pairs()
        moved[:, own] = points[:, network]
        return moved

    def own_entries(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return COCO result entries with the source's joints; those that the network lacks are at the others' mean.

        They are not scored, but the extent of an entry and its similarity to regions without labels use them.
        """
        own, network = self._pairs()
        result = []
        for entry in entries:
            given = np.array(entry["keypoints"], np.float64).reshape(-1, 3)[network]
            moved = np.zeros((len(self.joints.source), 3))
            moved[:, :2] = given[:, :2].mean(0)
            moved[own] = given
            result.append({**entry, "keypoints": moved.reshape(-1).tolist()})
        return result

    def _pairs(self) -> tuple[Array, Array]:
        """Return the source's joints that the network has, and their numbers among the network's."""
        places = {row: joint for joint, row in reversed(list(enumerate(self.joints.rows))) if row is not None}
        own = sorted(places)
        return np.array(own), np.array([places[row] for row in own])

    def _mapped(self, records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        if self.joints.is_identity:
            return tuple(records)
        return tuple(
            replace(
                record,
                persons=tuple(replace(person, joints=self.joints.apply(person.joints)) for person in record.persons),
            )
            for record in records
        )

    def _named(self, evaluation: Evaluation) -> Evaluation:
        """Return a result that says which joints it is about, unless it is about all."""
        lacking, total = self.joints.unused, len(self.joints.source)
        if not lacking:
            return evaluation
        on = f"{evaluation.name} on {total - len(lacking)} of {total} joints"
        return replace(evaluation, name=f"{on} (the network has no {', '.join(lacking)})")


def find_sources(config: DataConfig) -> tuple[Source, ...]:
    """Return the sources of a training, with their joints matched to ``data.skeleton``; none without data.sources."""
    skeleton = get_skeleton(config.skeleton)
    return tuple(_source(config, given, skeleton) for given in config.sources)


def check_splits(config: DataConfig) -> None:
    """Check that the annotations of each split that a training reads or evaluates exist, before it starts."""
    sources = find_sources(config)
    for data in [source.data for source in sources] or [config]:
        find_annotations(data, data.train)
    check_evaluated(config, config.val)
    for source in sources:
        if source.val is not None:
            check_evaluated(source.data, source.val)


def _source(config: DataConfig, given: SourceConfig, skeleton: Skeleton) -> Source:
    layout = get_layout(given.layout)
    own = given.skeleton or layout.skeleton
    try:
        joints = map_joints(get_skeleton(own).joints, skeleton.joints, given.joints)
    except ConfigError as error:
        raise ConfigError(f"data.sources, {given.title}: {error} (joints)") from None
    data = config.model_copy(
        update={
            "layout": layout.name, "root": given.root, "train": given.train or layout.train,
            "val": given.val or layout.val, "skeleton": own, "allowed_folders": given.allowed_folders,
            "detections": None, "sources": (),
        }
    )  # fmt: skip
    return Source(given.title, data, given.val, given.weight, joints, skeleton)


def with_sources(main: Evaluation, sources: Mapping[str, Callable[[], Evaluation]]) -> Evaluation:
    """Return an evaluation with those of sources, by name: their metrics are called NAME/AP, the main one's AP."""
    metrics, reports = dict(main.metrics), [main.report]
    for name, evaluate in sources.items():
        found = evaluate()
        metrics |= {f"{name}/{key}": value for key, value in found.metrics.items()}
        reports.append(f"source {name}:\n{found.report}")
    return replace(main, metrics=metrics, report="\n\n".join(reports)) if sources else main
