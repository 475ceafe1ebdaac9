"""Networks as ONNX: the graph of a module with its free dimensions, and the content of its file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pose_core.errors import ConfigError, PoseError
from pose_core.installation import install_hint

OPSET = 19
"""The first with deformable convolution."""


@dataclass(frozen=True)
class Graph:
    """A module to export. It is traced on the first of ``examples``, and its file is checked on all of them.

    ``free`` names the dimensions of the input that may vary, each with the number of which it must be a multiple.
    """

    module: nn.Module
    examples: tuple[Tensor, ...]
    free: Mapping[int, tuple[str, int]]

    @property
    def shapes(self) -> dict[int, Any]:
        """Return the free dimensions for torch.export."""
        return {
            axis: (torch.export.Dim(name) if multiple == 1 else multiple * torch.export.Dim(name, min=2))
            for axis, (name, multiple) in self.free.items()
        }

    @cached_property
    def expected(self) -> list[list[tuple[str, Tensor]]]:
        """PyTorch's outputs for the examples, by name."""
        with torch.no_grad():
            return [list(named_outputs(self.module(images))) for images in self.examples]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs."""
        return tuple(name for name, _ in self.expected[0])


def network_graph(
    network: nn.Module, input_size: tuple[int, int], *, batch: int | None = None, multiple: int | None = None
) -> Graph:
    """Return the graph of a network for normalized images ``(N, 3, H, W)`` of ``input_size`` (w, h).

    With ``batch`` all sizes are fixed. Without it N is any number, and with ``multiple`` so are H and W that are
    multiples of it.
    """
    width, height = input_size
    if batch is not None:
        sizes, free = [(batch, height, width)], {}
    elif multiple is None:
        sizes, free = [(2, height, width), (3, height, width)], {0: ("batch", 1)}
    else:
        # Sides that differ are not mistaken for one dimension, nor a side of one multiple for a fixed one.
        width, height = max(width, 2 * multiple), max(height, 2 * multiple)
        sizes = [(2, height, width + multiple), (3, height + multiple, width)]
        free = {0: ("batch", 1), 2: ("height", multiple), 3: ("width", multiple)}
    random = torch.Generator().manual_seed(0)
    examples = tuple(torch.randn(count, 3, *size, generator=random) for count, *size in sizes)
    return Graph(deepcopy(network).cpu().float().eval(), examples, free)


def onnx_content(graph: Graph, opset: int, notes: Mapping[str, Any]) -> bytes:
    """Return a graph as the content of an ONNX file, with ``notes`` in its metadata."""
    try:
        import onnxscript  # noqa: F401  # needed by torch.onnx
    except ImportError:
        raise ConfigError(f"exporting needs onnx and onnxscript: {install_hint('export')}") from None
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        program = torch.onnx.export(
            graph.module, graph.examples[:1], dynamo=True, opset_version=opset, input_names=["images"],
            output_names=list(graph.outputs), dynamic_shapes=(graph.shapes,) if graph.free else None, verbose=False,
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as failure:
        raise PoseError(f"this network does not export to ONNX: {failure}") from None
    finally:
        logger.setLevel(level)
    assert program is not None
    program.model.metadata_props.update({key: json.dumps(value) for key, value in notes.items()})
    content: bytes = program.model_proto.SerializeToString()
    return content


def named_outputs(outputs: Any, name: str = "heatmaps") -> Iterator[tuple[str, Tensor]]:
    """Yield a network's outputs in order, named by a named tuple's fields or by number."""
    if isinstance(outputs, Tensor):
        yield name, outputs
        return
    fields: Sequence[str] = getattr(outputs, "_fields", [f"{name}_{number}" for number in range(len(outputs))])
    for field, value in zip(fields, outputs, strict=True):
        yield from named_outputs(value, field)
