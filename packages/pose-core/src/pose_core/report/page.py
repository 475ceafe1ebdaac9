"""The HTML pages of reports: everything that the templates show, prepared, and rendered with every text escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pose_core.engine.metrics import LOSSES, SCORES, series
from pose_core.errors import ConfigError
from pose_core.evaluation.analysis import CLASSES, Analysis, Curve
from pose_core.installation import install_hint
from pose_core.plurals import counted
from pose_core.reading.printable import printable
from pose_core.report.charts import Chart, calibration_chart, curve_chart
from pose_core.report.comparison import Compared
from pose_core.report.differences import config_difference
from pose_core.report.pictures import annotated, choose_images, image_name, predicted
from pose_core.report.runs import EvaluatedRun

if TYPE_CHECKING:
    from jinja2 import Environment

TITLES = {
    "miss": "missed joints",
    "swap": "swapped people",
    "inversion": "left and right inverted",
    "jitter": "jitter",
    "score": "order of scores",
    "duplicate": "duplicates",
    "spurious": "spurious detections",
    "missed": "missed people",
}
"""Names of errors for readers, who would take ``miss`` and ``missed`` for the same."""
Log = Sequence[dict[str, Any]]
"""The lines of a run's metrics.jsonl."""


class Shown(NamedTuple):
    """An image in the page: its figures by run, and its pictures, with a caption each."""

    kind: str
    name: str
    image_id: int
    errors: Any
    pictures: tuple[tuple[str, str], ...]


def require_jinja() -> None:
    """Raise a ConfigError if jinja2 is missing; call this before long work that ends with a report."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise ConfigError(f"a report needs jinja2: {install_hint('report')}") from None


def run_page(run: EvaluatedRun, log: Log) -> str:
    """Return the page of one run."""
    return _environment().get_template("run.html").render(
        run=run,
        analysis=run.analysis,
        metrics=_metrics(run),
        protocol=_protocol(run),
        sources=_sources(run),
        curves=_curves(run),
        calibration=calibration_chart(run.analysis.calibration),
        shown=_shown_images(run),
        training=training_charts({run.name: log}),
        difference=config_difference(run.record.config),
        changed=_changed_since(run),
        costly=_costliest(run.analysis),
    )  # fmt: skip


def compare_page(runs: Sequence[EvaluatedRun], compared: Sequence[Compared], logs: Mapping[str, Log]) -> str:
    """Return the page that compares runs with the first."""
    metrics = [_metrics(run) for run in runs]
    names = list(dict.fromkeys(chain.from_iterable(metrics)))
    return _environment().get_template("comparison.html").render(
        runs=runs,
        first=runs[0],
        compared=compared,
        names=names,
        metrics=metrics,
        protocols=[_protocol(run) for run in runs],
        costs=_cost_rows(runs),
        joints=list(zip(*(run.analysis.joints for run in runs), strict=True)),
        shown={each.name: _differing(runs[0], run, each) for run, each in zip(runs[1:], compared, strict=True)},
        training=training_charts(logs),
        differences=[config_difference(run.record.config) for run in runs],
    )  # fmt: skip


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, counted=counted, printable=printable)
    environment.globals.update(classes=CLASSES, titles=TITLES)
    return environment


def number(value: float | None, digits: int = 1, factor: float = 1.0) -> str:
    """Return a value times ``factor`` with some digits; a dash if it is undefined: NaN, or −1 for nobody."""
    if value is None or not math.isfinite(value) or value == -1:
        return "–"
    return f"{value * factor:.{digits}f}"


def _metrics(run: EvaluatedRun) -> dict[str, float]:
    """Return the metrics of the results table by title, in percent; −1 where there is nobody."""
    usual = {key: key for key in run.record.metrics if key != "Mean@0.10" and "/" not in key}  # "/": of a source
    titles = run.found.layout.titles or usual
    values = {title: run.record.metrics[key] for key, title in titles.items() if key in run.record.metrics}
    return {title: value if value == -1 else value * run.unit for title, value in values.items()}


def _sources(run: EvaluatedRun) -> dict[str, dict[str, float]]:
    """Return the metrics of the other sources of data by source, as they were recorded."""
    found: dict[str, dict[str, float]] = {}
    for key, value in run.record.metrics.items():
        source, slash, name = key.rpartition("/")
        if slash:
            found.setdefault(source, {})[name] = value
    return found


def _protocol(run: EvaluatedRun) -> str:
    """Return the line of a report that says how its figures were produced."""
    lines = [line for line in run.record.report.splitlines() if " evaluator=" in line]
    return lines[0] if lines else "no protocol line"


def _curves(run: EvaluatedRun) -> Chart | None:
    if run.found.layout.score_entries is not None:
        ranges = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0)}
        return curve_chart("Precision against recall", "recall", "precision", run.analysis.curves, ramp=True, **ranges)
    title = "Share of joints within a distance of the annotation"
    return curve_chart(title, "distance, relative to the person", "share", run.analysis.curves, y_range=(0.0, 1.0))


def _shown_images(run: EvaluatedRun) -> list[Shown]:
    records = {record.image_id: record for record in run.found.records}
    shown = []
    for choice in choose_images(run.analysis.images):
        record = records.get(choice.errors.image_id)
        if record is None:
            continue
        pictures = (
            ("annotation", annotated(record, run.found.skeleton)),
            ("prediction", predicted(record, run.poses.get(record.image_id), run.found.skeleton)),
        )
        shown.append(Shown(choice.kind, image_name(record), record.image_id, choice.errors, pictures))
    return shown


def _differing(first: EvaluatedRun, run: EvaluatedRun, compared: Compared) -> list[Shown]:
    records = {record.image_id: record for record in first.found.records}
    by_id = [{each.image_id: each for each in each_run.analysis.images} for each_run in (first, run)]
    shown = []
    for identity in compared.images:
        record = records.get(identity)
        if record is None:
            continue
        pictures = (
            ("annotation", annotated(record, first.found.skeleton)),
            (first.name, predicted(record, first.poses.get(identity), first.found.skeleton)),
            (run.name, predicted(record, run.poses.get(identity), first.found.skeleton)),
        )
        before, after = by_id[0][identity], by_id[1][identity]
        kind = "better" if after.similarity > before.similarity else "worse"
        shown.append(Shown(kind, image_name(record), identity, (before, after), pictures))
    return shown


def training_charts(logs: Mapping[str, Log]) -> list[Chart]:
    """Return the curves of losses and scores over the steps of the training, of the runs that have them."""
    several = len(logs) > 1
    parts: dict[str, list[Curve]] = {"Loss in training": [], "Scores on held-out images": []}
    for run, rows in logs.items():
        scores = series(rows, "val", SCORES[:1] + SCORES[-1:] if several else SCORES)
        for title, found in zip(parts, (series(rows, "train", LOSSES), scores), strict=True):
            for name, steps, values in found:
                curve = Curve(f"{run} {name}" if several else name, tuple(steps.tolist()), tuple(values.tolist()))
                parts[title].append(curve)
    charts = [curve_chart(title, "step", "", curves) for title, curves in parts.items()]
    return [chart for chart in charts if chart is not None]


def _changed_since(run: EvaluatedRun) -> bool:
    """Return whether the results or annotations give another score now than the evaluation recorded."""
    return not math.isclose(run.analysis.score, run.record.value, abs_tol=1e-6)


def _costliest(analysis: Analysis) -> list[Any]:
    """Return the kinds of errors that cost most, at most three."""
    ranked = sorted((cost for cost in analysis.costs if cost.gain > 0), key=lambda cost: -cost.gain)
    return ranked[:3]


def _cost_rows(runs: Sequence[EvaluatedRun]) -> list[tuple[str, list[Any]]]:
    tables = [{cost.name: cost for cost in run.analysis.costs} for run in runs]
    return [(name, [table.get(name) for table in tables]) for name in tables[0]]
