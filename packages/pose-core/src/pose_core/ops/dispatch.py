"""Choose which implementation of an op runs, in one place for all ops."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING, Literal

from pose_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPS", "Implementation", "choose", "is_exporting", "paths", "setting", "triton_problem", "uses_triton"]

Implementation = Literal["reference", "fast"]

OPS = {
    "gaussian_heatmaps": "two 1-D Gaussians and an outer product",
    "heatmap_loss": "one expression, no intermediate weights; on a GPU a Triton kernel that stores no target",
    "decode_heatmaps": "one flat argmax in numpy on the CPU; on a GPU a Triton kernel, the mirrored map fused in",
    "fuse_flip": "one pass over both maps",
    "normalize": "bytes reordered while they become floats; on a GPU a Triton kernel, one pass from bytes",
    "deform_conv": "torchvision's operator; on a CPU without gradients, gathered rows and one matrix product",
    "paste": "only the pixels that each part covers; on a GPU a Triton kernel, all parts in one pass",
    "tag_loss": "all images, people and pairs in one call; on a GPU a Triton kernel, one block per image",
    "warp_crops": "on a GPU a Triton kernel, all crops of a batch in one launch",
    "oks_nms": "all images in one call",
}
"""Op → a description of its fast path."""


def setting() -> str:
    """Return the value of POSE_OPS."""
    value = os.environ.get("POSE_OPS", "auto")
    if value not in {"auto", "reference", "fast"}:
        raise ConfigError(f"POSE_OPS={value!r} is not one of auto, reference, fast")
    return value


def choose(op: str) -> Implementation:
    """Return the implementation that an op uses now; exporting always uses the reference, which is plain PyTorch."""
    assert op in OPS, op
    return "reference" if setting() == "reference" or is_exporting() else "fast"


def uses_triton(op: str, tensor: Tensor) -> bool:
    """Return whether an op runs its Triton kernel on ``tensor``: on a GPU, or on a CPU under Triton's interpreter."""
    wanted = tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
    return wanted and choose(op) == "fast" and _works()


@cache
def triton_problem() -> str:
    """Return why Triton's kernels cannot be used, "" if they can: one is compiled and run to find out."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        from pose_core.ops._triton_probe import run

        run()
    except Exception as error:  # a missing compiler, an old GPU, a broken installation: each fails in its own way
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""


@cache
def _works() -> bool:
    problem = triton_problem()
    if problem and problem != "Triton is not installed":
        warnings.warn(
            f"Triton's kernels do not work here, so plain PyTorch is used, which is slower: {problem}", stacklevel=2
        )
    return not problem


def is_exporting() -> bool:
    """Return whether a network is being exported, without importing torch to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export())


def paths() -> dict[str, tuple[Implementation, str]]:
    """Return the implementation in use for every op, and why."""
    why = {"auto": "", "reference": "because POSE_OPS=reference", "fast": "because POSE_OPS=fast"}[setting()]
    return {op: (choose(op), why or fast) for op, fast in OPS.items()}
