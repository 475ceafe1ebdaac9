"""Write a report of one run, or a comparison of several: an HTML page, and the same figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pose_core.config import DataConfig
from pose_core.engine.metrics import read_metrics
from pose_core.errors import ConfigError
from pose_core.files import write_json, write_text
from pose_core.report.comparison import Compared, compare
from pose_core.report.differences import config_difference
from pose_core.report.page import compare_page, require_jinja, run_page
from pose_core.report.runs import EvaluatedRun, read_runs


class Written(NamedTuple):
    """The files of a report, and what it says in a few lines."""

    page: Path
    figures: Path
    lines: tuple[str, ...]


def write_report(
    places: Sequence[Path], out: Path | None = None, *, root: str | None = None, data: DataConfig | None = None
) -> Written:
    """Write the report of one run or the comparison of several, and the same figures as JSON beside it.

    ``places`` are folders of runs, or results files of predictions on the split ``data.val``. ``out`` is the page:
    ``report.html`` in the folder of the run by default, ``comparison.html`` in that of the first run for several;
    beside a results file it has the file's name, too. ``root`` is where the runs' data set is now.
    """
    require_jinja()
    page = out or _page_of(places)
    if page.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"--out {page} must end in .html")
    runs = read_runs(places, root, data)
    logs = {run.name: _log_of(run) for run in runs}
    compared = compare(runs) if len(runs) > 1 else []
    if compared:
        text = compare_page(runs, compared, logs)
    else:
        text = run_page(runs[0], logs[runs[0].name])
    figures = page.with_suffix(".json")
    write_text(page, text)
    write_json(figures, figures_of(runs, compared), indent=1)
    return Written(page, figures, _lines(runs, compared))


def _page_of(places: Sequence[Path]) -> Path:
    name = "report.html" if len(places) == 1 else "comparison.html"
    first = places[0]
    return first.with_name(f"{first.stem}_{name}") if first.is_file() else first / name


def figures_of(runs: Sequence[EvaluatedRun], compared: Sequence[Compared]) -> dict[str, Any]:
    """Return the figures of a report as plain data for JSON."""
    return {
        "runs": [
            {
                "name": run.name,
                "evaluation": run.record.model_dump(mode="json"),
                "config_difference": _difference(run),
                "analysis": run.analysis.to_json(),
            }
            for run in runs
        ],
        "comparison": [
            {
                "run": each.name,
                "with": runs[0].name,
                "metric": runs[0].analysis.metric,
                "unit": "percent",
                "difference": each.difference.value,
                "standard_error": each.difference.error,
                "interval_95": [each.difference.low, each.difference.high],
                "resamples": each.difference.resamples,
                "images": list(each.images),
            }
            for each in compared
        ],
    }


def _difference(run: EvaluatedRun) -> dict[str, Any]:
    found = config_difference(run.record.config)
    return {"experiment": found.experiment, "changed": [each._asdict() for each in found.changed]}


def _log_of(run: EvaluatedRun) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl; none if the folder is of an evaluation alone."""
    file = run.folder / "metrics.jsonl"
    return read_metrics(file) if file.is_file() else []


def _lines(runs: Sequence[EvaluatedRun], compared: Sequence[Compared]) -> tuple[str, ...]:
    lines = [f"{run.name}: {run.record.metric} {run.analysis.score * run.unit:.1f} %" for run in runs]
    return (*lines, *(each.sentence(runs[0].name, runs[0].analysis.metric) for each in compared))
