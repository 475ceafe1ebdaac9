"""Read the logged values of runs over steps, from their metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.drawing.curves import Series, plot_training
from pose_core.errors import ConfigError, DataError
from pose_core.reading.json_text import parse_json
from pose_core.reading.regular import read_regular

Array = np.ndarray
PLACE = ("split", "step", "epoch")
"""Names in a line of metrics.jsonl that are not measured values."""
MAX_BYTES = 10**9
"""The largest metrics.jsonl: that of a training of a month, logged at each step, has about 100 MB."""
LOSSES = ("loss",)
ACCURACIES = ("accuracy",)
SCORES = ("AP", "AP50", "AP75", "Mean")


def plot_metrics(metrics: Path, target: Path) -> None:
    """Plot one run's metrics.jsonl: loss over steps on top, validation scores below.

    A run that was evaluated once has no course of scores: its accuracy in training is plotted instead.
    """
    rows = read_metrics(metrics)
    losses, scores = series(rows, "train", LOSSES), series(rows, "val", SCORES)
    if not (losses or scores):
        raise DataError(f"{metrics} has neither training losses nor validation scores to plot: train for longer")
    accuracies = series(rows, "train", ACCURACIES)
    if accuracies and max((len(steps) for _, steps, _ in scores), default=0) <= 1:
        final = ", ".join(f"{name} {values[-1]:.3f}" for name, _, values in scores)
        plot_training(losses, [], target, accuracies, final)
    else:
        plot_training(losses, scores, target)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl, without an incomplete last line."""
    if not path.parent.is_dir():
        raise DataError(f"{path.parent} is not a folder: give the folder of a run, such as runs/NAME")
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder of a run")
    text = read_regular(path, "log of metrics", limit=MAX_BYTES)
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        try:
            row = parse_json(line, "line")
        except DataError:
            if line.endswith(b"\n"):
                raise DataError(f"{path} line {number} is not JSON: remove it, or train the run again") from None
            continue
        if not (isinstance(row, dict) and isinstance(row.get("split"), str) and is_number(row.get("step"))):
            raise DataError(f"{path} line {number} has no split and step: remove it, or train the run again")
        rows.append(row)
    return rows


def is_number(value: object) -> bool:
    """Return whether a logged value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def series(rows: Sequence[dict[str, Any]], split: str, names: Sequence[str]) -> list[Series]:
    """Return the values over steps of each name that occurs."""
    found = []
    for name in names:
        points = [(row["step"], row[name]) for row in rows if row["split"] == split and is_number(row.get(name))]
        if points:
            steps, values = np.array(points, dtype=np.float64).T
            found.append((name, steps, values))
    return found


def compare_runs(folders: Sequence[Path], keys: Sequence[str], *, smooth: int = 1) -> dict[str, list[Series]]:
    """Return a curve per run for each key that any run has: named after its folder, empty where it lacks the key.

    A key is a name logged in training, ``loss``, or in evaluation, with its split, ``val/AP``. ``smooth`` is the width
    of the running mean.
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
    """Return the keys that at least one run has, those of training first."""
    names: dict[str, None] = {}
    for folder in folders:
        for row in read_metrics(folder / "metrics.jsonl"):
            prefix = "" if row["split"] == "train" else f"{row['split']}/"
            names.update({prefix + name: None for name in row if name not in PLACE and is_number(row[name])})
    return sorted(names, key=lambda name: "/" in name)


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return the names of runs: their folders' names, with more of the path if two are the same."""
    parts = [folder.resolve().parts for folder in folders]
    twice = [str(folder) for folder, part in zip(folders, parts, strict=True) if parts.count(part) > 1]
    if twice:
        raise ConfigError(f"{' and '.join(twice)} are the same folder: give each run once")
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def running_mean(values: Array, width: int) -> Array:
    """Return the mean of the ``width`` values around each value ``(N,)``, ignoring values that are not finite.

    Values that are not finite are returned unchanged.
    """
    if not len(values):
        return values
    kernel, middle = np.ones(width), slice(width // 2, width // 2 + len(values))
    finite = np.isfinite(values)
    sums = np.convolve(np.where(finite, values, 0.0), kernel)[middle]
    counts = np.convolve(finite.astype(np.float64), kernel)[middle]
    return np.divide(sums, counts, out=values.astype(np.float64), where=finite)
