"""Several runs on the same images against the first: differences of the score with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_core.errors import ConfigError
from pose_core.evaluation.bootstrap import Difference, ap_difference, ratio_difference
from pose_core.evaluation.coco import MAX_DETECTIONS
from pose_core.evaluation.keypoint_files import Detections, read_detections
from pose_core.report.runs import EvaluatedRun

Array = np.ndarray

COUNT = 12
"""Images that a comparison shows."""


@dataclass(frozen=True)
class Compared:
    """One run against the first: ``difference`` is its score minus that of the first, in percent."""

    name: str
    difference: Difference
    images: tuple[int, ...]
    """Ids of the images whose similarity differs most, the largest difference first."""

    def sentence(self, first: str, metric: str) -> str:
        """Return the result in words."""
        found = self.difference
        better, worse = (self.name, first) if found.value >= 0 else (first, self.name)
        low, high = (found.low, found.high) if found.value >= 0 else (-found.high, -found.low)
        size = f"{abs(found.value):.1f} ± {found.error:.1f} {metric} (95 % interval {low:.1f} to {high:.1f})"
        if not found.is_clear:
            return f"{better} and {worse} differ by {size}, which includes 0: it may be chance"
        return f"{better} beats {worse} by {size}"


def check_comparable(runs: Sequence[EvaluatedRun]) -> None:
    """Raise a ConfigError unless all runs were evaluated on the same images and people by the same metric."""
    first = runs[0]
    for other in runs[1:]:
        what = _what_differs(first, other)
        if what:
            ours, theirs = (f"{run.record.data.layout} {run.record.data.split}" for run in (first, other))
            raise ConfigError(
                f"{first.name} and {other.name} were evaluated on different {what} ({ours} in "
                f"{first.record.data.root}, {theirs} in {other.record.data.root}): evaluate both with the same "
                "data.root and data.val to compare them"
            )


def _what_differs(first: EvaluatedRun, other: EvaluatedRun) -> str:
    if first.record.metric != other.record.metric:
        return "protocols"
    if first.found.skeleton.joints != other.found.skeleton.joints:
        return "joints"
    ours, theirs = ({each.image_id: each.people for each in run.analysis.images} for run in (first, other))
    return "images" if ours.keys() != theirs.keys() else "people" if ours != theirs else ""


def compare(runs: Sequence[EvaluatedRun]) -> list[Compared]:
    """Compare each run with the first."""
    check_comparable(runs)
    return [Compared(run.name, difference(run, runs[0]), differing_images(run, runs[0])) for run in runs[1:]]


def difference(run: EvaluatedRun, first: EvaluatedRun) -> Difference:
    """Return by how much the score of a run exceeds that of the first, in percent, by bootstrap over images."""
    if first.found.layout.score_entries is None:
        (ours, total), (theirs, _) = hits(run), hits(first)
        return ratio_difference(ours, theirs, total)
    truth, sigmas = first.found.ground_truth.without(first.without), np.array(first.found.skeleton.sigmas)
    found = ap_difference(truth, _detections(run), _detections(first), sigmas)
    return Difference(100 * found.value, 100 * found.error, 100 * found.low, 100 * found.high, found.resamples)


def _detections(run: EvaluatedRun) -> Detections:
    return read_detections(run.results, run.found.ground_truth.without(run.without), max_detections=MAX_DETECTIONS)


def hits(run: EvaluatedRun) -> tuple[Array, Array]:
    """Return each image's joints that were hit and that are labeled, ``(I,)`` each."""
    total = np.array([sum(each.counts.values()) for each in run.analysis.images], dtype=np.float64)
    share = np.array([each.similarity for each in run.analysis.images])
    return np.where(total > 0, share, 0.0) * total, total


def differing_images(run: EvaluatedRun, first: EvaluatedRun, count: int = COUNT) -> tuple[int, ...]:
    """Return the ids of the images with people whose similarity differs most."""
    before = {each.image_id: each.similarity for each in first.analysis.images}
    apart = [
        (abs(each.similarity - before[each.image_id]), each.image_id) for each in run.analysis.images if each.people
    ]
    ranked = sorted((pair for pair in apart if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]))
    return tuple(identity for _, identity in ranked[:count])
