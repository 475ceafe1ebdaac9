"""Export of networks to ONNX, checked against PyTorch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose_core.errors import ConfigError, PoseError
from pose_core.files import whole_file
from pose_core.installation import install_hint

OPSET = 19
"""The first with deformable convolution."""


@dataclass(frozen=True)
class Exported:
    """A written file; ``error`` is its largest difference from PyTorch over the largest output, None if not checked."""

    file: Path
    outputs: tuple[str, ...]
    error: float | None


def export_onnx(
    network: nn.Module,
    input_size: tuple[int, int],
    file: str | Path,
    *,
    batch: int | None = None,
    opset: int = OPSET,
    notes: Mapping[str, Any] | None = None,
    tolerance: float = 1e-4,
) -> Exported:
    """Write ``network`` for normalized images ``(N, 3, H, W)`` of ``input_size`` (w, h), and run the file once.

    N is ``batch``, or any number for None. ``notes`` go into the file's metadata. A file whose output differs from
    PyTorch's by more than ``tolerance`` of the largest value is deleted, and an error is raised.
    """
    try:
        import onnxscript  # noqa: F401  # needed by torch.onnx
    except ImportError:
        raise ConfigError(f"exporting needs onnx and onnxscript: {install_hint('export')}") from None
    network = network.cpu().float().eval()
    target = Path(file)
    images = torch.randn(batch or 2, 3, input_size[1], input_size[0], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = list(_named(network(images)))
    names = tuple(name for name, _ in expected)
    # None: every size is fixed.
    shapes = None if batch else ({0: torch.export.Dim("batch")},)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        program = torch.onnx.export(
            network, (images,), dynamo=True, opset_version=opset, input_names=["images"], output_names=list(names),
            dynamic_shapes=shapes, verbose=False,
        )  # fmt: skip
    except torch.onnx.OnnxExporterError as failure:
        raise PoseError(f"this network does not export to ONNX: {failure}") from None
    assert program is not None
    program.model.metadata_props.update({key: json.dumps(value) for key, value in (notes or {}).items()})
    with whole_file(target) as opened:
        opened.write(program.model_proto.SerializeToString())
    error = _check(target, images, [value for _, value in expected])
    if error is not None and error > tolerance:
        target.unlink()
        raise PoseError(
            f"the output of {target} differs from PyTorch's by {error:.1e} of the largest value; the file was deleted"
        )
    return Exported(target, names, error)


def _named(outputs: Any, name: str = "heatmaps") -> Iterator[tuple[str, Tensor]]:
    """Yield a network's outputs in order, named by a named tuple's fields or by number."""
    if isinstance(outputs, Tensor):
        yield name, outputs
        return
    fields: Sequence[str] = getattr(outputs, "_fields", [f"{name}_{number}" for number in range(len(outputs))])
    for field, value in zip(fields, outputs, strict=True):
        yield from _named(value, field)


def _check(file: Path, images: Tensor, expected: Sequence[Tensor]) -> float | None:
    """Return the largest relative error of the file's outputs; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"images": images.numpy()})
    errors = []
    for ours, theirs in zip(expected, outputs, strict=True):
        scale = ours.abs().max().clamp_min(1e-12)
        errors.append(float((ours - torch.from_numpy(theirs)).abs().max() / scale))
    return max(errors)
