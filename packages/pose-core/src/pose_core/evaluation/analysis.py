"""What an error analysis consists of: plain numbers in frozen dataclasses, the same for every protocol.

`pose_core.evaluation.analyze` makes one for OKS (COCO, CrowdPose), `analyze_points` for PCK (MPII, LSP).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

ErrorClass = Literal["good", "jitter", "inversion", "swap", "miss"]
CLASSES: tuple[ErrorClass, ...] = ("good", "jitter", "inversion", "swap", "miss")


@dataclass(frozen=True)
class Curve:
    """A curve to draw: precision against recall at one OKS threshold, or the share of joints against the distance."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Cost:
    """A kind of error: how often it occurs, and the score gained by correcting it alone and after the ones before it.

    ``gain`` and ``progressive`` are in the metric's own unit (0 to 1 for AP, percent for PCK); ``progressive`` is the
    score after correcting this and all kinds before it. ``by_threshold`` is ``gain`` at each OKS threshold.
    """

    name: str
    count: int
    meaning: str
    """One sentence for readers."""
    gain: float
    progressive: float
    by_threshold: tuple[float, ...] = ()


@dataclass(frozen=True)
class JointErrors:
    """One joint: how many are labeled on matched people, how many of them are in each class, and its score."""

    name: str
    labeled: int
    counts: Mapping[str, int]
    """By class; they add up to ``labeled``."""
    score: float
    """AP whose OKS is this joint's similarity alone, or the joint's PCK; −1 if it is never labeled."""
    similarity: float
    """Mean similarity of matched people's labeled joints; mean hit for PCK; −1 if none."""


@dataclass(frozen=True)
class Group:
    """People of one kind: ``score`` is AP or PCK on them, −1 if there are none."""

    name: str
    people: int
    score: float
    recall: float = -1.0
    counts: Mapping[str, int] | None = None
    """Joints of each class on them."""


@dataclass(frozen=True)
class ScoreBin:
    """Detections of similar score: mean score, mean OKS with the best annotation (or mean hit), and their number."""

    score: float
    similarity: float
    count: int


@dataclass(frozen=True)
class ImageErrors:
    """One image: its people and detections, its mean similarity, and its errors.

    ``similarity`` is the mean over annotated people of the OKS of the detection matched at 0.1, 0 if there is none; or
    the share of labeled joints that are hit.
    """

    image_id: int
    people: int
    detections: int
    similarity: float
    missed: int
    """Annotated people without a detection at OKS 0.5."""
    spurious: int
    """Detections that are near nobody at OKS 0.5."""
    counts: Mapping[str, int]
    """Joints of matched people by class."""
    lowest_score: float
    """The lowest score of a detection that matches somebody, NaN if none does or there are no scores."""
    duplicates: int = 0
    """Detections near a person at OKS 0.5 whom another detection matches."""


@dataclass(frozen=True)
class Analysis:
    """The errors of one set of predictions."""

    metric: str
    """``AP`` (OKS 0.50:0.95) or ``PCKh@0.5``, ``PCK@0.2``."""
    score: float
    curves: tuple[Curve, ...]
    costs: tuple[Cost, ...]
    """In the order of the progressive correction."""
    joints: tuple[JointErrors, ...]
    groups: Mapping[str, tuple[Group, ...]]
    """By heading: size, visibility, number of labeled joints, crowding, and the published grid of both."""
    calibration: tuple[ScoreBin, ...]
    """By rising score; empty without scores."""
    images: tuple[ImageErrors, ...]
    """In the order of image ids."""
    notes: tuple[str, ...] = ()
    """How to read the figures: definitions and limits, one sentence each."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data for JSON; NaN becomes None."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if value != value else value
