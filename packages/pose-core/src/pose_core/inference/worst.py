"""The images whose correction would pay most, as a trained network sees them.

The network predicts three views of each image: the image, its mirror image, and a smaller one. An image ranks by

- ``error``: the mean over its people of 1 - OKS between annotation and prediction. A prediction without an annotated
  person that scores as well as others do counts 1;
- ``score``: the mean score of its people, the lowest first;
- ``disagreement``: the mean over its people of 1 - OKS between the prediction and those of the other two views.

A person who is annotated, but not found, has an error of 1, a score of 0 and a disagreement of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from pose_core.engine.interfaces import PosePredictor
from pose_core.inference.findings import ImageFinding, compare
from pose_core.inference.views import predict_views
from pose_core.structures import ImageRecord
from pose_core.topdown.detectors import Detector

Criterion = Literal["error", "score", "disagreement"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
QUANTILE = 0.25
"""A person without annotation counts if it scores more than this share of the people with one."""


def find_worst(
    predictor: PosePredictor,
    records: Sequence[ImageRecord],
    *,
    by: Sequence[Criterion] = CRITERIA,
    detector: Detector | None = None,
    skips: bool = False,
) -> list[ImageFinding]:
    """Return the images in the order in which correcting them would pay, the worst first.

    They are ordered by the mean of their ranks by each of ``by``; equal ones stay in the order of ``records``. The
    predictor must not average over mirrored images itself, or the views could not disagree. A top-down network looks
    into the annotated boxes, and into those of ``detector`` that overlap none of them. Images that do not decode raise
    a DataError, or with ``skips`` are left out.
    """
    findings = [
        compare(record, size, views) for record, size, views in predict_views(predictor, records, detector, skips=skips)
    ]
    limit = _usual_score(findings)
    return _ranked([_measured(finding, limit) for finding in findings], by)


def are_annotated(records: Sequence[ImageRecord]) -> bool:
    """Return whether any image has people, so that there are annotations to compare with."""
    return any(record.persons for record in records)


def _usual_score(findings: Iterable[ImageFinding]) -> float:
    """Return the score above which a person without annotation is taken seriously."""
    scores = [
        float(finding.poses.pose_scores[person.prediction])
        for finding in findings
        for person in finding.people
        if person.prediction is not None
    ]
    return float(np.quantile(scores, QUANTILE)) if scores else -math.inf


def _measured(finding: ImageFinding, limit: float) -> ImageFinding:
    """Return a finding with its measures, without unannotated people who score less than ``limit``."""
    extra = tuple(number for number in finding.extra if finding.poses.pose_scores[number] > limit)
    found = [person.prediction for person in finding.people if person.prediction is not None] + list(extra)
    missed = sum(person.prediction is None for person in finding.people)
    return replace(
        finding,
        extra=extra,
        error=_mean([1 - person.similarity for person in finding.people] + [1.0] * len(extra)),
        score=_mean([float(finding.poses.pose_scores[number]) for number in found] + [0.0] * missed),
        disagreement=_mean([1 - finding.views[number] for number in found] + [1.0] * missed),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _ranked(findings: Sequence[ImageFinding], by: Sequence[Criterion]) -> list[ImageFinding]:
    """Return the findings by rising mean of their ranks; an image that lacks a measure is the last by it."""
    total = np.zeros(len(findings))
    for criterion in by:
        sign = -1 if criterion == "score" else 1
        values = np.array([sign * getattr(finding, criterion) for finding in findings], np.float64)
        filled = np.where(np.isnan(values), -np.inf, values)
        total += np.searchsorted(np.sort(-filled), -filled)
    order = np.argsort(total, kind="stable").tolist()
    return [replace(findings[number], rank=float(total[number] / len(by))) for number in order]
