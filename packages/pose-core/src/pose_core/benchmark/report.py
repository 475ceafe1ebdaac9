"""Benchmark figures as JSON, Markdown and a plot, and the comparison of two files."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pose_core.benchmark.networks import NetworkRow
from pose_core.benchmark.stages import StageRow
from pose_core.drawing.figures import (
    COLORS,
    INK,
    SMALL,
    add_legend,
    label_points,
    new_figure,
    set_log_ticks,
    shorten,
    write_figure,
)
from pose_core.errors import ConfigError, DataError
from pose_core.evaluation.report import markdown_table
from pose_core.plugins.method import installed_methods
from pose_core.reading.json_text import parse_json
from pose_core.reading.regular import read_regular

if TYPE_CHECKING:
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

NETWORK_HEAD = (
    "network", "method", "input", "joints", "parameters", "GMACs", "ms, 1 image", "images/s", "at batch", "MB",
    "training images/s", "at batch", "of the limit", "accuracy",
)  # fmt: skip
STAGE_HEAD = ("stage", "ms", "rate")
COMPARED = {"latency_ms": -1, "throughput": 1, "memory_mb": -1, "training": 1, "accuracy": 1}
"""Figures of a network that are compared; −1 if lower is better."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""A method's marker in the plot, in addition to its color."""
MAX_RESULT = 1 << 26
"""Largest size in bytes of a file of results; a hundred networks make about 100 kB."""
LABEL = 36
"""Most characters of a network's name in the plot."""


def header(
    device: torch.device,
    *,
    fast: bool,
    rounds: int = 1,
    networks: Sequence[NetworkRow] = (),
    limit: float | None = None,
) -> dict[str, Any]:
    """Return the device, its ``limit`` in FLOP/s, the versions, the time, and the data that gave the accuracies."""
    names = ["torch", "torchvision", "numpy", "opencv-python-headless", "pose-core"]
    names += [method.script for method in installed_methods().values()]
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "limit_tflops": None if limit is None else limit / 1e12,
        "fast": fast,
        "rounds": rounds,
        "accuracy": accuracy_protocols(networks),
        "python": platform.python_version(),
        "versions": {name: found for name in names if (found := _version(name))},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def accuracy_protocols(networks: Sequence[NetworkRow]) -> list[dict[str, Any]]:
    """Return the data sets and protocols of the accuracies, each with its networks."""
    owners: dict[tuple[str, str, str], list[str]] = {}
    for row in networks:
        if row.accuracy is not None:
            owners.setdefault((row.measure, row.data, row.protocol), []).append(row.name)
    return [
        {"measure": measure, "data": data, "protocol": protocol, "networks": names}
        for (measure, data, protocol), names in owners.items()
    ]


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the CPU with its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def to_json(head: dict[str, Any], networks: Sequence[NetworkRow], stages: Sequence[StageRow]) -> dict[str, Any]:
    """Return the header and the rows as JSON content."""
    return {**head, "networks": [asdict(row) for row in networks], "stages": [asdict(row) for row in stages]}


def to_markdown(head: dict[str, Any], networks: Sequence[NetworkRow], stages: Sequence[StageRow]) -> str:
    """Return the header and the tables of networks and stages as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items())
    how = "fast preset" if head["fast"] else "as trained"
    parts = [
        f"{head['device']}, {head['threads']} threads, {how}, {head['time']}",
        f"Python {head['python']}, {versions}",
    ]
    if networks and head["limit_tflops"]:
        parts.append(
            f"the limit: {head['limit_tflops']:.3g} TFLOP/s in one large convolution; its column has the network's "
            "share of it at its images/s, and at its training images/s (training an image is three times the work)"
        )
    if networks and head["rounds"] > 1:
        parts.append(f"times: medians of {head['rounds']} rounds, ± half of their range")
    for group in head["accuracy"]:
        names = ", ".join(group["networks"])
        parts.append(f"{group['measure']}: {names}  \non {group['data']}  \n{group['protocol']}")
    if networks:
        parts.append(markdown_table(NETWORK_HEAD, [_network_cells(row, head["limit_tflops"]) for row in networks]))
    if stages:
        cells = [[row.stage, f"{row.milliseconds:.2f}", f"{row.rate:,.0f} {row.unit}/s"] for row in stages]
        parts.append(markdown_table(STAGE_HEAD, cells))
    return "\n\n".join(parts) + "\n"


def _network_cells(row: NetworkRow, limit: float | None) -> list[str]:
    rates = [row.throughput] + ([3 * row.training] if row.training else [])
    shares = [f"{2e-3 * row.gmacs * rate / limit:.0%}" for rate in rates] if limit else []
    return [
        row.name, row.method, row.input, str(row.joints), f"{row.parameters:,}", f"{row.gmacs:.3f}",
        _time(row, "latency_ms"), _time(row, "throughput"), str(row.batch), f"{row.memory_mb:.0f}",
        _time(row, "training"), str(row.training_batch or ""), ", ".join(shares),
        "" if row.accuracy is None else f"{row.accuracy:.3f} {row.measure}",
    ]  # fmt: skip


def _time(row: NetworkRow, name: str) -> str:
    value, spread = getattr(row, name), row.spread.get(name)
    return "" if value is None else f"{value:.1f}" + (f" ±{spread:.0%}" if spread else "")


def compare_files(first: Path, second: Path) -> str:
    """Return a table of ratios; above 1 the second file is better, for every figure.

    Accuracies are compared if they have the same measure, data set and protocol.
    """
    before, after = _read(first), _read(second)
    rows = []
    old = {(row["name"], row["input"]): row for row in before["networks"]}
    for row in after["networks"]:
        known = old.get((row["name"], row["input"]))
        if known is None:
            continue
        cells = [_ratio(known[key], row[key], sign) for key, sign in COMPARED.items()]
        if any(known.get(key) != row.get(key) for key in ("measure", "data", "protocol")):
            cells[-1] = "not comparable"
        rows.append([f"{row['name']} {row['input']}", *cells])
    parts = [f"{second} against {first}: above 1 the second is better", f"{first}: {_one_line(before)}"]
    parts += [f"{second}: {_one_line(after)}", ""]
    if rows:
        parts.append(markdown_table(["network", "time of 1", "images/s", "memory", "training", "accuracy"], rows))
    times = {row["stage"]: row["milliseconds"] for row in before["stages"]}
    shared = [row for row in after["stages"] if row["stage"] in times]
    if shared:
        ratios = [[str(row["stage"]), _ratio(times[row["stage"]], row["milliseconds"], -1)] for row in shared]
        parts += ["", markdown_table(["stage", "ratio"], ratios)]
    if not rows and not shared:
        raise ConfigError(f"{first} and {second} have no network and no stage in common")
    return "\n".join(parts)


def _one_line(content: dict[str, Any]) -> str:
    line = f"{content['device']}, {content['threads']} threads, {'fast' if content['fast'] else 'as trained'}"
    spreads = [spread for row in content["networks"] for spread in row.get("spread", {}).values()]
    return f"{line}, {content['rounds']} rounds ±{max(spreads):.0%} at most" if spreads else line


def _ratio(before: float | None, after: float | None, sign: int) -> str:
    if not before or not after:
        return ""
    return f"{after / before if sign > 0 else before / after:.2f}"


def _read(path: Path) -> dict[str, Any]:
    what = "result of `pose benchmark --out DIR`"
    content = parse_json(read_regular(path, what, limit=MAX_RESULT), str(path))
    missing = {"device", "threads", "fast", "networks", "stages"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise DataError(f"{path} is not a file of `pose benchmark`: {', '.join(sorted(missing))} missing")
    try:
        for row in content["networks"]:
            texts = [row["name"], row["input"]]
            spreads = list(row.get("spread", {}).values())
            numbers = [row[key] for key in COMPARED] + spreads
            if not (all(isinstance(text, str) for text in texts) and all(map(_is_time, numbers))):
                raise TypeError
            if spreads and (None in spreads or not isinstance(content["rounds"], int)):
                raise TypeError
        for row in content["stages"]:
            if not (isinstance(row["stage"], str) and _is_time(row["milliseconds"])):
                raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not a file of `pose benchmark`: a row has other keys or values") from None
    return dict(content)


def _is_time(value: object) -> bool:
    """Return whether a value is a measured one: None, or a finite number."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300)


def draw_plot(rows: Sequence[NetworkRow], target: Path) -> None:
    """Write the plot of :func:`plot_figure`."""
    write_figure(plot_figure(rows), target)


def plot_figure(rows: Sequence[NetworkRow]) -> Figure:
    """Plot images per second against accuracy if two or more networks have one, against GMACs otherwise.

    Different measures cannot be compared: each has its own panel, above a shared axis of speed.
    """
    panels: dict[str, list[tuple[NetworkRow, float]]] = {}
    for row in rows:
        if row.accuracy is not None:
            panels.setdefault(row.measure or "accuracy", []).append((row, row.accuracy))
    scored = sum(map(len, panels.values())) > 1
    if not scored:
        panels = {"multiply-adds (G)": [(row, row.gmacs) for row in rows]}
    # Inches; more with many points, for their names.
    heights = [float(np.clip(0.12 * len(points), 4.8 if len(panels) == 1 else 3.2, 8)) for points in panels.values()]
    figure, shown = new_figure(heights, list(panels), "images per second")
    dots: dict[str, PathCollection] = {}
    methods = sorted({row.method for points in panels.values() for row, _ in points})
    for axes, points in zip(shown, panels.values(), strict=True):
        for method, color, marker in zip(methods, cycle(COLORS), cycle(MARKERS), strict=False):
            own = [(row.throughput, value) for row, value in points if row.method == method]
            if own:
                x, y = zip(*own, strict=True)
                dots[method] = axes.scatter(x, y, s=28, color=color, marker=marker, linewidths=0, zorder=2)
        axes.set_xscale("log")
        if not scored:
            axes.set_yscale("log")
            set_log_ticks(axes.yaxis)
    set_log_ticks(shown[-1].xaxis)
    add_legend(figure, [dots[method] for method in methods], methods)
    for axes, points in zip(shown, panels.values(), strict=True):
        best_first = sorted(points, key=lambda point: point[1], reverse=True)
        at = np.array([(row.throughput, value) for row, value in best_first])
        labels = label_points(figure, axes, at, [shorten(row.name, LABEL) for row, _ in best_first])
        if len(labels) < len(points):
            note = f"{len(labels)} of {len(points)} names shown; the table has all"
            axes.set_title(note, loc="right", fontsize=SMALL, color=INK)
    return figure
