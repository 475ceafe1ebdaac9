"""The geometry of the report's charts: polylines, points and ticks in the pixels of an SVG, which a template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pose_core.evaluation.analysis import Curve, ScoreBin

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 628, 12, 258
"""The area of the curves."""
MOST_POINTS = 240
"""Points of the longest curve: more are not seen, and make the page large."""
TICKS = 5
LARGEST = 1e30
"""Values beyond this are left out like those that are not finite: their differences would not be finite."""


@dataclass(frozen=True)
class Line:
    """A curve: ``points`` as SVG writes them, a color's number, and a name for the legend."""

    name: str
    points: str
    color: int


@dataclass(frozen=True)
class Dot:
    """A point with a radius in pixels and a text that is shown on it."""

    x: float
    y: float
    radius: float
    text: str


@dataclass(frozen=True)
class Tick:
    """A grid line at a pixel, and its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart to draw; ``ramp`` colors its lines as one sequence instead of as separate things."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    guide: str = ""
    """Points of a dashed line to compare with."""
    ramp: bool = False


@dataclass(frozen=True)
class Scale:
    """A linear map of an interval of values onto pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return ticks at round values."""
        step = round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(Tick(self(number * step), f"{number * step:.10g}") for number in range(first, last + 1))


def round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def curve_chart(
    title: str,
    x_label: str,
    y_label: str,
    curves: Sequence[Curve],
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    ramp: bool = False,
) -> Chart | None:
    """Return a chart of curves; None if no curve has a point. Points that are not finite are left out."""
    drawn = [(curve.name, _finite(curve)) for curve in curves]
    points = [point for _, part in drawn for point in part]
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    across = Scale(*(x_range or _range(xs)), LEFT, RIGHT)
    up = Scale(*(y_range or _range(ys)), BOTTOM, TOP)
    lines = tuple(
        Line(name, " ".join(f"{across(x)},{up(y)}" for x, y in _thinned(part)), number)
        for number, (name, part) in enumerate(drawn)
        if part
    )
    dots = tuple(
        Dot(across(part[0][0]), up(part[0][1]), 3.5, f"{name}: {part[0][1]:.4g}")
        for name, part in drawn
        if len(part) == 1
    )
    return Chart(title, x_label, y_label, across.ticks(), up.ticks(), lines, dots, ramp=ramp)


def calibration_chart(bins: Sequence[ScoreBin]) -> Chart | None:
    """Return the mean OKS against the mean score of groups of detections; None without any."""
    shown = [each for each in bins if _drawable(each.score) and _drawable(each.similarity)]
    if not shown:
        return None
    top = max(1.0, *(each.score for each in shown))
    low = min(0.0, *(each.score for each in shown))
    across, up = Scale(low, top, LEFT, RIGHT), Scale(0.0, 1.0, BOTTOM, TOP)
    most = max(each.count for each in shown)
    dots = tuple(
        Dot(
            across(each.score),
            up(each.similarity),
            round(3 + 7 * math.sqrt(each.count / max(most, 1)), 1),
            f"score {each.score:.2f}: similarity {each.similarity:.2f}, {each.count} detections",
        )
        for each in shown
    )
    line = Line("detections", " ".join(f"{dot.x},{dot.y}" for dot in dots), 0)
    guide = f"{across(0)},{up(0)} {across(1)},{up(1)}"
    title = "Score of a detection against its similarity to the annotation"
    return Chart(title, "score", "mean similarity", across.ticks(), up.ticks(), (line,), dots, guide)


def _finite(curve: Curve) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if _drawable(x) and _drawable(y)]


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval around the values with room at its ends; one that begins at 0 stays there."""
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return (0.0 if low >= 0 and low <= (high - low) else low - room), high + room


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most about `MOST_POINTS` points, each the mean of some in a row; the ends stay."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return points
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
    return [points[0], *means[1:-1], points[-1]]
