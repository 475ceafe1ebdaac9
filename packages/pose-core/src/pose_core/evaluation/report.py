"""Results in the formats of the benchmarks' tools, with the protocol that produced them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation; ``value``, the metric called ``name``, selects the best checkpoint."""

    name: str
    value: float
    metrics: Mapping[str, float]
    report: str
    results: Path | None = None
    """The file of predictions that was scored, or that is to be uploaded."""
    image_ids: tuple[int, ...] | None = None
    """The images that were evaluated, if they are not all of the split."""


def not_scored(report: str) -> Evaluation:
    """Return the result for a split that only an evaluation server can score; ``report`` says where to upload."""
    return Evaluation("none (no annotations)", 0.0, {}, report)


COCO_LINES = (
    ("AP", "Precision", "AP", "0.50:0.95", "all"),
    ("AP50", "Precision", "AP", "0.50", "all"),
    ("AP75", "Precision", "AP", "0.75", "all"),
    ("APM", "Precision", "AP", "0.50:0.95", "medium"),
    ("APL", "Precision", "AP", "0.50:0.95", "large"),
    ("AR", "Recall", "AR", "0.50:0.95", "all"),
    ("AR50", "Recall", "AR", "0.50", "all"),
    ("AR75", "Recall", "AR", "0.75", "all"),
    ("ARM", "Recall", "AR", "0.50:0.95", "medium"),
    ("ARL", "Recall", "AR", "0.50:0.95", "large"),
)
COCO_TITLES = {
    "AP": "AP", "AP50": "Ap .5", "AP75": "AP .75", "APM": "AP (M)", "APL": "AP (L)", "AR": "AR", "AR50": "AR .5",
    "AR75": "AR .75", "ARM": "AR (M)", "ARL": "AR (L)",
}  # fmt: skip
CROWDPOSE_TITLES = {
    "AP": "AP", "AP50": "AP .5", "AP75": "AP .75", "AR": "AR", "AR50": "AR .5", "AR75": "AR .75", "APE": "AP (E)",
    "APM": "AP (M)", "APH": "AP (H)",
}  # fmt: skip


def format_coco(result: Mapping[str, float], name: str = "model") -> str:
    """Return the ten lines of the COCO tools, followed by a Markdown table with one row."""
    lines = [
        f" {'Average ' + kind:<18} ({short}) @[ IoU={iou:<9} | area={area:>6} | maxDets= 20 ] = {result[key]:0.3f}"
        for key, kind, short, iou, area in COCO_LINES
    ]
    return "\n".join([*lines, markdown_row(result, COCO_TITLES, name), *_explain_minus_one(result, "area")])


def format_crowdpose(result: Mapping[str, float], name: str = "model") -> str:
    """Return CrowdPose's nine figures as a Markdown table with one row."""
    return "\n".join([markdown_row(result, CROWDPOSE_TITLES, name), *_explain_minus_one(result, "crowd")])


def format_pck(result: Mapping[str, float], name: str = "model") -> str:
    """Return Head … Mean Mean@0.1 as a Markdown table with one row.

    ``Mean@0.10`` is left out: next to the published ``Mean@0.1``, whose threshold is 0.11, it only confuses.
    """
    return markdown_row(result, {key: key for key in result if key != "Mean@0.10"}, name)


def markdown_row(result: Mapping[str, float], titles: Mapping[str, str], name: str) -> str:
    """Return a Markdown table with one row of values with three decimals."""
    values = [f"{result[key]:.3f}" for key in titles]
    return markdown_table(["Arch", *titles.values()], [[name, *values]])


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _explain_minus_one(result: Mapping[str, float], split: str) -> list[str]:
    names = {
        "area": {"M": "medium size (32² to 96² pixels)", "L": "large size (over 96² pixels)"},
        "crowd": {"E": "low crowd index", "M": "middle crowd index", "H": "high crowd index"},
    }[split]
    lacking = sorted({key[-1] for key, value in result.items() if value == -1 and key[-1] in names})
    if result["AP"] == -1:
        return ["-1: the ground truth of this set has no annotated person"]
    if not lacking:
        return []
    counted = "annotated person" if split == "area" else "image"
    return ["-1: this set has no " + counted + " of " + " or ".join(names[key] for key in lacking)]


def protocol_line(
    *,
    boxes: str,
    flip: bool,
    decode: str,
    scales: float | tuple[float, ...] = 1.0,
    precision: str = "fp32",
    runtime: str = "torch",
    evaluator: str,
) -> str:
    """Return a line that describes how a result was produced: boxes, test-time settings and evaluator.

    ``precision`` is named unless it is ``fp32``, that of published figures, and the network's ``runtime`` unless it is
    ``torch``.
    """
    listed = scales if isinstance(scales, tuple) else (scales,)
    shown = ",".join(f"{scale:g}" for scale in listed)
    settings = f"boxes={boxes} flip={'yes' if flip else 'no'} decode={decode} scales={shown}"
    settings += "" if precision == "fp32" else f" precision={precision}"
    settings += "" if runtime == "torch" else f" runtime={runtime}"
    return f"{settings} evaluator={evaluator}"
