"""Choose which implementation of an op runs, in one place for all ops.

``POSE_OPS`` is a mode, ``auto``, ``reference`` or ``fast``, or names paths of single ops, or both, with commas:
``reference,decode_heatmaps=numpy``. In ``auto`` an op takes the path that was the fastest when this machine was
measured (`pose_core.ops.probe`), and its default path where nothing was measured. ``fast`` takes the defaults.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

from pose_core.errors import ConfigError
from pose_core.measurements import are_ignored, recall

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPS", "Choice", "choose", "is_exporting", "paths", "setting", "triton_problem", "uses_triton"]

Choice = tuple[str, Literal["measured", "default", "POSE_OPS"]]
"""A path, and what chose it."""

OPS: dict[str, dict[str, str]] = {
    "gaussian_heatmaps": {
        "bands": "empty maps, and the rows that a Gaussian covers copied into them",
        "windows": "every map is a window of one template",
    },
    "heatmap_loss": {"fast": "one expression; on a GPU a Triton kernel that stores no target"},
    "decode_heatmaps": {
        "numpy": "one flat argmax in numpy; on a GPU a Triton kernel, the mirrored map fused in",
        "torch": "PyTorch's argmax",
    },
    "fuse_flip": {
        "numpy": "OpenCV mirrors, numpy adds, a few maps at a time; on a GPU one pass over both maps",
        "torch": "one pass over both maps in PyTorch",
    },
    "normalize": {"fast": "bytes reordered while they become floats; on a GPU a Triton kernel, one pass from bytes"},
    "deform_conv": {
        "fast": "gathered rows and one matrix product; torchvision's operator on a GPU",
        "sampled": "PyTorch's bilinear sampling; always used for gradients on a CPU",
        "torchvision": "torchvision's operator",
    },
    "paste": {"fast": "only the pixels that each part covers; on a GPU a Triton kernel, all parts in one pass"},
    "tag_loss": {"fast": "all images, people and pairs in one call; on a GPU a Triton kernel, one block per image"},
    "warp_crops": {"fast": "on a GPU a Triton kernel, all crops of a batch in one launch"},
    "oks_nms": {"fast": "all images in one call; only poses near each other are compared"},
}
"""Op → its paths besides the reference, the default first, each with a description.

All paths of an op that has several are bit-equal, except those of deform_conv, whose sums have different orders.
"""
MODES = ("auto", "reference", "fast")
MARGIN = 0.1
"""How much more time the default path may take than another one."""


def setting() -> str:
    """Return the value of POSE_OPS, after checking it."""
    value = os.environ.get("POSE_OPS") or "auto"
    _choices(value, measured=True)
    return value


def choose(op: str) -> str:
    """Return the path that an op takes now; exporting always uses the reference, which is plain PyTorch.

    A path that does not fit the inputs, such as numpy's for tensors on a GPU, gives way to one that does.
    """
    return "reference" if is_exporting() else paths()[op][0]


@lru_cache(maxsize=64)
def _choices(value: str, *, measured: bool) -> dict[str, Choice]:
    """Return the path of every op under a value of POSE_OPS; what was measured is read once."""
    mode, named = _parse(value)
    best = _fastest() if mode == "auto" and measured else {}
    chosen: dict[str, Choice] = {}
    for op, ways in OPS.items():
        if op in named:
            chosen[op] = named[op], "POSE_OPS"
        elif mode == "reference":
            chosen[op] = "reference", "POSE_OPS"
        elif op in best:
            chosen[op] = best[op], "measured"
        else:
            chosen[op] = next(iter(ways)), "default"
    return chosen


def _parse(value: str) -> tuple[str, dict[str, str]]:
    """Return the mode, and the paths that are named for single ops."""
    mode, named = "auto", {}
    for part in value.split(","):
        op, equals, path = (word.strip() for word in part.partition("="))
        if not equals and op in MODES:
            mode = op
        elif not equals:
            raise ConfigError(f"POSE_OPS={value!r}: {op!r} is not one of {', '.join(MODES)}, nor OP=PATH")
        elif op not in OPS:
            raise ConfigError(f"POSE_OPS={value!r}: there is no op {op!r}; choose from {', '.join(OPS)}")
        elif path != "reference" and path not in OPS[op]:
            known = ", ".join(["reference", *OPS[op]])
            raise ConfigError(f"POSE_OPS={value!r}: {op} has no path {path!r}; choose from {known}")
        else:
            named[op] = path
    return mode, named


def _fastest() -> dict[str, str]:
    """Return the path that was measured as the fastest on this machine, for each op that has several.

    A path other than the default must be faster by a `MARGIN`: what noise decides is no reason to change.
    """
    best = {}
    for op, seconds in recall("ops").items():
        known = {path: seconds[path] for path in OPS.get(op, {}) if path in seconds}
        if len(known) > 1:
            default = next(iter(OPS[op]))
            handicapped = {path: time if path == default else time * (1 + MARGIN) for path, time in known.items()}
            best[op] = min(handicapped, key=handicapped.__getitem__)
    return best


def forget() -> None:
    """Read what was measured again, at the next use."""
    _choices.cache_clear()


def uses_triton(op: str, tensor: Tensor) -> bool:
    """Return whether an op runs its Triton kernel on ``tensor``: on a GPU, or on a CPU under Triton's interpreter."""
    wanted = tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
    return wanted and choose(op) != "reference" and _works()


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


def paths() -> dict[str, Choice]:
    """Return the path that every op takes, and what chose it."""
    return _choices((os.environ.get("POSE_OPS") or "auto"), measured=not are_ignored())
