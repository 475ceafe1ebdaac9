"""The record of an evaluation, ``evaluation.json`` beside its results file: what was evaluated, how, and the result."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from pose_core.config import Experiment
from pose_core.engine.interfaces import Evaluation
from pose_core.files import write_json
from pose_core.folders import find_data_root
from pose_core.reading.printable import printable

RECORD = "evaluation.json"
GIT_SECONDS = 5


def record_evaluation(
    evaluation: Evaluation, config: Experiment, device: torch.device, weights: str | None
) -> Path | None:
    """Write the record beside the results file and return its path; None if the evaluation has no results file.

    ``weights`` are a name, a file, or a step of the training; None for an untrained network. Only the process that
    writes the results calls this. The root of the data is recorded as an absolute path, so that the record can be read
    from another directory.
    """
    if evaluation.results is None:
        return None
    data = config.data
    content = {
        "results": evaluation.results.name,
        "metric": evaluation.name,
        "value": evaluation.value,
        "metrics": dict(evaluation.metrics),
        "report": evaluation.report,
        "data": {
            "layout": data.layout,
            "root": str(find_data_root(data.root).absolute()),
            "split": data.val,
            "skeleton": data.skeleton,
            "image_ids": evaluation.image_ids,
        },
        "weights": weights,
        "device": device_name(device),
        "versions": versions(),
        "git": git_hash(Path.cwd()),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
    }
    target = evaluation.results.with_name(RECORD)
    write_json(target, content, indent=1)
    return target


def device_name(device: torch.device) -> str:
    """Return ``cpu``, or a GPU's number and model."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def versions() -> dict[str, str]:
    """Return the versions of Python, PyTorch and the pose packages."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    named: list[tuple[str, Any]] = [(each.metadata["Name"] or "", each.version) for each in distributions()]
    return found | {name: version for name, version in sorted(named) if name.startswith("pose-") and version}


def git_hash(folder: Path) -> str | None:
    """Return the commit of the working directory; None if it is no git repository, or git is not installed."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return printable(found.stdout.strip()) or None if found.returncode == 0 else None
