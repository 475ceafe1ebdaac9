"""Networks that another runtime computes, used like PyTorch's modules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from pose_core.errors import PoseError
from pose_core.models.inference_copy import LowPrecision
from pose_core.runtimes.ways import LABELS, Way

TOLERANCES = {"fp32": 1e-4, "bf16": 0.1}
"""Largest difference from PyTorch in fp32, relative to the largest output."""
CHECKED = 4
"""Images on which the first call is compared with PyTorch."""
NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16"}

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Computes a network's outputs for images ``(N, 3, H, W)``."""


class RuntimeNetwork(nn.Module):
    """A network that another runtime computes, for images on the CPU.

    The first call is compared with PyTorch's ``reference``, which also shows the structure of the outputs. If they
    differ, PyTorch computes this call and all others, with a warning.
    """

    def __init__(self, run: Run, reference: nn.Module, way: Way) -> None:
        super().__init__()
        self.run = run
        self.reference: nn.Module | None = reference
        self.way = way
        self.spec: Any = None

    def forward(self, x: Tensor) -> Any:
        if self.reference is not None:
            if self.spec is None:
                self._compare(self.reference, x[:CHECKED])
            if self.reference is not None:
                return self.reference(x)
        return tree_unflatten([torch.from_numpy(part) for part in self._outputs(x)], self.spec)

    def _outputs(self, x: Tensor) -> Sequence[np.ndarray]:
        return self.run(x.detach().contiguous().numpy())

    def _compare(self, reference: nn.Module, x: Tensor) -> None:
        """Keep the reference if the outputs differ from its outputs, and drop it if they do not."""
        with torch.no_grad():
            expected, self.spec = tree_flatten(reference(x))
        found = self._outputs(x)
        same = [one.shape == other.shape for one, other in zip(expected, found, strict=True)]
        error = max(_difference(*pair) for pair in zip(expected, found, strict=True)) if all(same) else np.inf
        if error <= TOLERANCES[self.way.precision]:
            self.reference = None
            return
        warnings.warn(
            f"the outputs of {LABELS[self.way.runtime]} differ from PyTorch's by {error:.1e} of the largest value: "
            "PyTorch is used instead; test.runtime=torch does so without this attempt",
            stacklevel=4,
        )
        self.way = Way("torch")


def _difference(expected: Tensor, found: np.ndarray) -> float:
    """Return the largest difference, relative to the largest expected value."""
    ours = expected.numpy().astype(np.float64)
    error = float(np.abs(ours - found).max() / max(np.abs(ours).max(), 1e-12)) if ours.size else 0.0
    return error if np.isfinite(error) else np.inf


def open_network(way: Way, file: Path | bytes, reference: nn.Module) -> RuntimeNetwork:
    """Return the network of an ONNX file, or of its content, with as many threads as PyTorch has."""
    try:
        run = _onnxruntime(file) if way.runtime == "onnxruntime" else _openvino(file, way.precision)
    except Exception as error:  # the runtimes have no class of errors in common
        raise PoseError(f"{LABELS[way.runtime]} does not compute this network: {_reason(error)}") from None
    return RuntimeNetwork(run, reference, way)


def _reason(error: Exception) -> str:
    """Return the line of an error's text that says most: OpenVINO's begins with the places in its sources."""
    lines = [line.strip("- ") for line in str(error).splitlines() if not line.startswith("Exception from")]
    telling = [line for line in lines if "conversion rule" in line] or [line for line in lines if line]
    return telling[0] if telling else type(error).__name__


def way_of(network: nn.Module) -> Way:
    """Return how a network for inference is computed."""
    if isinstance(network, RuntimeNetwork):
        return network.way
    return Way("torch", NAMES[network.dtype] if isinstance(network, LowPrecision) else "fp32")


def _onnxruntime(file: Path | bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait actively would take the cores of the processes that load images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    content = file if isinstance(file, bytes) else str(file)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        found: Sequence[np.ndarray] = session.run(None, {"images": images})
        return found

    return run


def _openvino(file: Path | bytes, precision: str) -> Run:
    import openvino

    model = openvino.Core().read_model(file if isinstance(file, bytes) else str(file))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time
    }
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        # Outputs are copied: the next call overwrites them.
        return list(request.infer([images], share_inputs=True).values())

    return run
