"""Networks as files for other runtimes, ONNX, torch.export and OpenVINO, each read back and compared with PyTorch."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError, PoseError
from pose_core.files import whole_file
from pose_core.installation import install_hint
from pose_core.runtimes.onnx_graph import OPSET as OPSET
from pose_core.runtimes.onnx_graph import Graph as Graph
from pose_core.runtimes.onnx_graph import named_outputs, onnx_content
from pose_core.runtimes.onnx_graph import network_graph as network_graph

TOLERANCE = 1e-4
"""Largest difference of a network's outputs, relative to the largest value."""
CLOSE = 1e-5
"""The same for keypoints, relative to the largest coordinate: some thousandths of a pixel."""
TIES = 0.25
"""Share of a pipeline's values that may differ more: where two pixels are nearly equal, rounding picks the peak."""

Run = Callable[[Tensor], Sequence[np.ndarray]]
"""Runs a written file on images."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    ``error`` is the largest difference from PyTorch over the largest output, or None if it was not checked. Of a
    pipeline it is the keypoints' in pixels, without the share ``ties`` of all values where rounding chose another peak.
    """

    file: Path
    outputs: tuple[str, ...]
    error: float | None
    ties: float | None = None


def pipeline_graph(pipeline: Pipeline, input_size: tuple[int, int], *, batch: int | None = None) -> Graph:
    """Return the graph of a pipeline for RGB images ``(N, H, W, 3)`` uint8 of ``input_size`` (w, h).

    With ``batch`` all sizes are fixed. Without it N is free for crops, and H and W are for whole images.
    """
    width, height = input_size
    step = pipeline.multiple
    if step is not None and batch not in (None, 1):
        raise ConfigError(f"--batch {batch}: from pixels to poses this network takes one image at a time")
    if batch is not None:
        sizes, free = [(batch, height, width)], {}
    elif step is None:
        sizes, free = [(2, height, width), (3, height, width)], {0: ("batch", 1)}
    else:
        width, height = max(width, 2 * step), max(height, 2 * step)
        sizes = [(1, height, width + step), (1, height + step, width)]
        free = {1: ("height", step), 2: ("width", step)}
    random = torch.Generator().manual_seed(0)
    examples = tuple(_smooth_images(*size, random) for size in sizes)
    return Graph(deepcopy(pipeline).cpu().float().eval(), examples, free)


def _smooth_images(count: int, height: int, width: int, random: torch.Generator) -> Tensor:
    """Return images ``(N, H, W, 3)`` uint8 of smooth random colors: on noise most networks' outputs are flat."""
    coarse = torch.rand(count, 3, 8, 6, generator=random)
    images = nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (images.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).contiguous()


def export_onnx(
    network: nn.Module,
    input_size: tuple[int, int],
    file: str | Path,
    *,
    batch: int | None = None,
    multiple: int | None = None,
    opset: int = OPSET,
    notes: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write ``network`` for normalized images ``(N, 3, H, W)`` of ``input_size`` (w, h), and run the file.

    ``batch`` and ``multiple`` as in `network_graph`; ``notes`` go into the file's metadata. A file whose output differs
    from PyTorch's by more than ``tolerance`` of the largest value is deleted, and an error is raised.
    """
    graph = network_graph(network, input_size, batch=batch, multiple=multiple)
    return write_onnx(graph, file, opset=opset, notes=notes, tolerance=tolerance)


def write_onnx(
    graph: Graph,
    file: str | Path,
    *,
    opset: int = OPSET,
    notes: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a graph as an ONNX file, run it under onnxruntime if that is installed, and compare with PyTorch."""
    target = Path(file)
    content = onnx_content(graph, opset, notes or {})
    with whole_file(target) as opened:
        opened.write(content)
    try:
        import onnxruntime
    except ImportError:
        return Exported(target, graph.outputs, None)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return _checked(graph, target, lambda images: session.run(None, {"images": images.numpy()}), tolerance)


def write_torch(graph: Graph, file: str | Path, *, notes: Mapping[str, Any] | None = None) -> Exported:
    """Write a graph as a file of torch.export (``.pt2``), read it back, and compare; its outputs are a dictionary.

    `torch.export.load` needs no code of this package; with ``extra_files={"notes.json": ""}`` it returns the notes.
    """
    target = Path(file)
    with torch.no_grad():
        program = torch.export.export(_ByName(graph.module), graph.examples[:1], dynamic_shapes=(graph.shapes or None,))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"notes.json": json.dumps(notes or {})})
    with whole_file(target) as opened:
        opened.write(content.getvalue())
    loaded = torch.export.load(target).module()

    def run(images: Tensor) -> list[np.ndarray]:
        with torch.no_grad():
            return [value.numpy() for value in loaded(images).values()]

    return _checked(graph, target, run, TOLERANCE)


class _ByName(nn.Module):
    """A module whose outputs are a dictionary: a named tuple's class cannot be stored."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(named_outputs(self.module(images)))


def write_openvino(graph: Graph, file: str | Path, *, notes: Mapping[str, Any] | None = None) -> Exported:
    """Write a graph as OpenVINO's pair of files, ``.xml`` and ``.bin``, run it on the CPU, and compare."""
    try:
        import openvino
    except ImportError:
        raise ConfigError(f"exporting to OpenVINO needs openvino: {install_hint('openvino')}") from None
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        onnx_file = Path(folder, "network.onnx")
        onnx_file.write_bytes(onnx_content(graph, OPSET, {}))
        model = openvino.convert_model(onnx_file)
        for key, value in (notes or {}).items():
            model.set_rt_info(json.dumps(value), ["pose", key])
        made = Path(folder, target.name)
        openvino.save_model(model, made, compress_to_fp16=False)
        # Many CPUs would compute in bfloat16.
        compiled = openvino.compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result = _checked(
            graph, target, lambda images: [compiled([images.numpy()])[port] for port in compiled.outputs], TOLERANCE
        )
        for part in (made.with_suffix(".bin"), made):
            part.replace(target.parent / part.name)
    return result


def _checked(graph: Graph, target: Path, run: Run, tolerance: float) -> Exported:
    """Compare a file with PyTorch on all examples; delete it and raise if it differs."""
    is_pipeline = isinstance(graph.module, Pipeline)
    largest, differing, values = 0.0, 0, 0
    for images, expected in zip(graph.examples, graph.expected, strict=True):
        for (name, ours), theirs in zip(expected, run(images), strict=True):
            ours, other = ours.double(), torch.from_numpy(np.array(theirs)).double()
            difference = (ours - other).abs() if ours.shape == other.shape else torch.full_like(ours, torch.inf)
            scale = ours.abs().max().clamp_min(1e-12)
            if not is_pipeline:
                largest = max(largest, float(difference.max() / scale))
                continue
            is_close = difference <= CLOSE * scale
            if name == "keypoints":
                largest = max(largest, float(difference[is_close].max()) if is_close.any() else 0.0)
            differing += int((~is_close).sum())
            values += ours.numel()
    ties = differing / values if values else None
    if (ties > TIES) if ties is not None else not largest <= tolerance:
        target.unlink(missing_ok=True)
        how = f"by {largest:.1e} of the largest value" if ties is None else f"in {ties:.0%} of its values"
        raise PoseError(f"the output of {target} differs from PyTorch's {how}; the file was deleted")
    return Exported(target, graph.outputs, largest, ties)
