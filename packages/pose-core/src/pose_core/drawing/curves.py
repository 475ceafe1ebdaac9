"""Training curves from the metrics.jsonl of one run or several, drawn with OpenCV alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose_core.drawing.sheets import write_image
from pose_core.errors import ConfigError, DataError

Array = np.ndarray
Series = tuple[str, Array, Array]
"""A name, steps, values."""

INK, GRID = (70, 70, 70), (228, 228, 228)
COLORS = (
    (38, 110, 190), (214, 96, 36), (60, 150, 80), (150, 70, 160), (180, 40, 60), (20, 150, 160), (120, 90, 50),
    (110, 110, 110),
)  # fmt: skip
FONT = cv2.FONT_HERSHEY_SIMPLEX
MARGIN = (58, 34, 18, 40)
"""Left, top, right, bottom."""
LINE = 20
"""Height of a line of the legend."""
PLACE = ("split", "step", "epoch")
"""What a line of metrics.jsonl says beside its values."""


def plot_metrics(metrics: Path, target: Path) -> None:
    """Loss over steps on top, validation figures below."""
    rows = read_metrics(metrics)
    losses = series(rows, "train", ["loss"])
    scores = series(rows, "val", ["AP", "AP50", "AP75", "Mean"])
    # One time axis for both, so that what happens together stands together.
    end = max((float(steps.max()) for _, steps, _ in losses + scores), default=1.0)
    panels = []
    if losses:
        panels.append(draw_panel("training loss", losses, end=end, logarithmic=True))
    if scores:
        panels.append(draw_panel("held-out score", scores, end=end, floor=0.0))
    if not panels:
        raise DataError(f"{metrics} has neither training losses nor validation scores to draw")
    write_image(target, np.concatenate(panels))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line that was cut off is left out."""
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path.parent.is_dir():
            raise DataError(f"{path} does not exist: is it the folder of a run?") from None
        raise DataError(f"{path.parent} does not exist as a folder: give a run's, such as runs/NAME") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        try:
            row = json.loads(line)
        except ValueError:
            if line.endswith(b"\n"):
                raise DataError(f"{path} line {number} is not JSON: remove it, or train the run again") from None
            continue
        if not (isinstance(row, dict) and isinstance(row.get("split"), str) and is_number(row.get("step"))):
            raise DataError(f"{path} line {number} has no split and step: remove it, or train the run again")
        rows.append(row)
    return rows


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def series(rows: Sequence[dict[str, Any]], split: str, names: Sequence[str]) -> list[Series]:
    """Named values over steps, those that occur."""
    found = []
    for name in names:
        points = [(row["step"], row[name]) for row in rows if row["split"] == split and is_number(row.get(name))]
        if points:
            steps, values = np.array(points, dtype=np.float64).T
            found.append((name, steps, values))
    return found


def compare_runs(folders: Sequence[Path], keys: Sequence[str], *, smooth: int = 1) -> dict[str, list[Series]]:
    """For each key that any run has, a curve per run: named after its folder, in order, empty where it lacks the key.

    A key is a name that training logs, ``loss``; or one of evaluation after its split, ``val/AP``. ``smooth`` takes
    the mean over so many values in a row.
    """
    runs = dict(zip(run_names(folders), (read_metrics(folder / "metrics.jsonl") for folder in folders), strict=True))
    found: dict[str, list[Series]] = {}
    for key in keys:
        split, _, name = key.rpartition("/")
        curves = []
        for run, rows in runs.items():
            _, steps, values = next(iter(series(rows, split or "train", [name])), (name, np.empty(0), np.empty(0)))
            curves.append((run, steps, running_mean(values, smooth)))
        if any(len(steps) for _, steps, _ in curves):
            found[key] = curves
    return found


def known_keys(folders: Sequence[Path]) -> list[str]:
    """The keys that at least one run has, training's first."""
    names: dict[str, None] = {}
    for folder in folders:
        for row in read_metrics(folder / "metrics.jsonl"):
            prefix = "" if row["split"] == "train" else f"{row['split']}/"
            names.update({prefix + name: None for name in row if name not in PLACE and is_number(row[name])})
    return sorted(names, key=lambda name: "/" in name)


def run_names(folders: Sequence[Path]) -> list[str]:
    """What runs are called: after their folders; with more of the path where two are alike."""
    parts = [folder.resolve().parts for folder in folders]
    twice = [str(folder) for folder, part in zip(folders, parts, strict=True) if parts.count(part) > 1]
    if twice:
        raise ConfigError(f"{' and '.join(twice)} are one folder: give each run once")
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def running_mean(values: Array, width: int) -> Array:
    """The mean of ``width`` values around each; of those that there are, at either end."""
    if not len(values):
        return values
    kernel, middle = np.ones(width), slice(width // 2, width // 2 + len(values))
    mean: Array = np.convolve(values, kernel)[middle] / np.convolve(np.ones(len(values)), kernel)[middle]
    return mean


def plot_runs(panels: Mapping[str, Sequence[Series]], titles: Mapping[str, str], target: Path) -> None:
    """What :func:`compare_runs` found, a panel for each key with the title that ``titles`` has for it.

    Losses are on a logarithmic axis where they are positive; everything else from zero where it is not negative.
    """
    end = max(float(steps.max()) for curves in panels.values() for _, steps, _ in curves if len(steps))
    drawn = [legend([name for name, _, _ in next(iter(panels.values()))])]
    for key, curves in panels.items():
        is_loss = "loss" in key
        drawn.append(
            draw_panel(
                titles.get(key, key),
                curves,
                end=end,
                logarithmic=is_loss,
                floor=None if is_loss else 0.0,
                named=False,
            )
        )
    write_image(target, np.concatenate(drawn))


def legend(names: Sequence[str], width: int = 720) -> Array:
    """A line for each name with the color that its curve has in every panel."""
    strip = np.full((LINE * len(names) + 10, width, 3), 255, np.uint8)
    for number, name in enumerate(names):
        y = LINE * (number + 1)
        cv2.line(strip, (MARGIN[0], y - 4), (MARGIN[0] + 20, y - 4), COLORS[number % len(COLORS)], 2, cv2.LINE_AA)
        _text(strip, name, (MARGIN[0] + 28, y))
    return strip


def draw_panel(
    title: str,
    curves: Sequence[Series],
    *,
    size: tuple[int, int] = (720, 280),
    end: float | None = None,
    floor: float | None = None,
    logarithmic: bool = False,
    named: bool = True,
) -> Array:
    """Curves on a white panel with axes, ticks and, where ``named``, a legend.

    The steps run to ``end``, the values from ``floor``.
    """
    width, height = size
    panel = np.full((height, width, 3), 255, np.uint8)
    left, top, right, bottom = MARGIN[0], MARGIN[1], width - MARGIN[2], height - MARGIN[3]
    values = np.concatenate([v for _, _, v in curves])
    values = values[np.isfinite(values)]
    if not len(values):
        values = np.zeros(1)
    if (values <= 0).any():
        logarithmic = False
    change = np.log10 if logarithmic else np.asarray
    low, high = float(change(values.min())), float(change(values.max()))
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 0.1)
    low, high = low - pad, high + pad
    if floor is not None and values.min() >= floor:
        low = floor
    first, last = 0.0, max(end or max(float(s.max()) for _, s, _ in curves), 1.0)

    def place(step: Array, value: Array) -> Array:
        x = left + (step - first) / (last - first) * (right - left)
        y = bottom - (change(value) - low) / (high - low) * (bottom - top)
        return np.stack([x, y], -1)

    for tick in log_ticks(10**low, 10**high) if logarithmic else nice_ticks(low, high):
        y = round(float(bottom - (change(tick) - low) / (high - low) * (bottom - top)))
        cv2.line(panel, (left, y), (right, y), GRID, 1)
        _text(panel, f"{tick:.3g}", (left - 6, y + 4), align="right")
    for tick in nice_ticks(first, last, 6):
        x = round(float(left + (tick - first) / (last - first) * (right - left)))
        cv2.line(panel, (x, bottom), (x, bottom + 4), INK, 1)
        _text(panel, f"{tick:g}", (x, bottom + 17), align="center")
    cv2.line(panel, (left, bottom), (right, bottom), INK, 1)
    cv2.line(panel, (left, top), (left, bottom), INK, 1)
    _text(panel, title, (left, 20), scale=0.5)
    _text(panel, "step", ((left + right) // 2, height - 8), align="center")
    x = right
    for number, (name, at, value) in reversed(list(enumerate(curves))):
        color = COLORS[number % len(COLORS)]
        good = np.isfinite(value) & ((value > 0) | (not logarithmic))
        points = np.round(place(at[good], value[good]) * 16).astype(np.int32)
        if not len(points):
            continue
        cv2.polylines(panel, [points], False, color, 2, cv2.LINE_AA, 4)
        if len(points) < 40:
            for point in points:
                cv2.circle(panel, point.tolist(), 3 * 16, color, -1, cv2.LINE_AA, 4)
        if not named:
            continue
        (text_width, _), _ = cv2.getTextSize(name, FONT, 0.42, 1)
        x -= text_width
        _text(panel, name, (x, 20))
        cv2.line(panel, (x - 22, 16), (x - 6, 16), color, 2, cv2.LINE_AA)
        x -= 36
    return panel


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two values, about ``count`` of them."""
    raw = (high - low) / count
    unit = 10 ** np.floor(np.log10(raw))
    step = unit * min((m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw), default=10)
    # Whole numbers first: a product of whole numbers is never −0.
    return [number * float(step) for number in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive values on a logarithmic axis, as sparse as leaves three of them."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks
    return nice_ticks(low, high)


def _text(panel: Array, text: str, at: tuple[int, int], *, align: str = "left", scale: float = 0.42) -> None:
    (width, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    x = at[0] - {"left": 0, "center": width // 2, "right": width}[align]
    cv2.putText(panel, text, (x, at[1]), FONT, scale, INK, 1, cv2.LINE_AA)
