"""A folder with which a network predicts poses without PyTorch and without this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError
from pose_core.files import write_json, write_text
from pose_core.inference.export import OPSET, Exported, pipeline_graph, write_onnx
from pose_core.skeleton import Skeleton

FILES = ("model.onnx", "skeleton.json", "settings.json", "predict.py")


def write_bundle(
    pipeline: Pipeline,
    input_size: tuple[int, int],
    skeleton: Skeleton,
    folder: str | Path,
    *,
    opset: int = OPSET,
    notes: Mapping[str, Any] | None = None,
) -> Exported:
    """Write ``model.onnx``, ``skeleton.json``, ``settings.json`` and ``predict.py``, which predicts with them.

    ``input_size`` is (w, h). The folder must be new, empty, or an earlier bundle, which is replaced.
    """
    if pipeline.script is None:
        raise ConfigError(f"a bundle of this network is not possible: left to do is to {pipeline.rest}")
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise ConfigError(f"--bundle {target} is a file; name a folder")
    others = sorted(entry.name for entry in target.glob("*") if entry.name not in {*FILES, "__pycache__"})
    if others:
        raise ConfigError(f"--bundle {target} has other files, such as {others[0]}; name a new folder")
    done = write_onnx(pipeline_graph(pipeline, input_size), target / "model.onnx", opset=opset, notes=notes)
    write_json(target / "skeleton.json", asdict(skeleton), indent=1)
    write_json(target / "settings.json", {"images": pipeline.script, **pipeline.settings, **(notes or {})}, indent=1)
    write_text(target / "predict.py", Path(__file__).with_name("standalone.py").read_text("utf-8"))
    return done
