"""The ways to compute a network on a CPU: a runtime and its number format; what each needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, NamedTuple

from pose_core.errors import ConfigError
from pose_core.installation import install_hint

Runtime = Literal["torch", "onnxruntime", "openvino"]
LABELS: dict[Runtime, str] = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
EXTRAS: dict[Runtime, str] = {"onnxruntime": "export", "openvino": "openvino"}
"""The extra of pose-core with the packages of each runtime but PyTorch."""


class Way(NamedTuple):
    """A runtime, and the number format of its operators."""

    runtime: Runtime
    precision: str = "fp32"

    def __str__(self) -> str:
        return self.runtime if self.precision == "fp32" else f"{self.runtime} {self.precision}"

    @property
    def label(self) -> str:
        """Return the name to print."""
        return LABELS[self.runtime] + ("" if self.precision == "fp32" else f" in {self.precision}")


def ways(precision: str) -> list[Way]:
    """Return the ways that may compute with ``precision``, PyTorch's own first.

    Where bfloat16 is allowed, full precision is too: some networks are faster in it. ONNX Runtime has no bfloat16 on a
    CPU.
    """
    full = [Way("torch"), Way("onnxruntime"), Way("openvino")]
    return full if precision == "fp32" else [Way("torch", precision), Way("openvino", precision), *full]


def missing(runtime: Runtime) -> list[str]:
    """Return the packages that a runtime needs and that are not installed."""
    needed = () if runtime == "torch" else ("onnx", "onnxscript", runtime)
    return [name for name in needed if find_spec(name) is None]


def require(runtime: Runtime) -> None:
    """Raise a ConfigError if a package that a runtime needs is not installed."""
    if lacking := missing(runtime):
        raise ConfigError(f"test.runtime={runtime} needs {' and '.join(lacking)}: {install_hint(EXTRAS[runtime])}")
