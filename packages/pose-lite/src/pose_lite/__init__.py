"""Lightweight top-down pose networks: LPN, small HRNets and soft-argmax decoding."""

from pose_core.plugins.method import Method

METHOD = Method(
    name="lite",
    package="pose_lite",
    summary="LPN, small HRNets, soft-argmax (lightweight top-down pose)",
    models={
        name: ("pose_lite.models:lpn", {"name": name})
        for name in ("lpn_18", "lpn_18h", "lpn_34", "lpn_34h", "lpn_50", "lpn_100", "lpn_101", "lpn_152")
    },
    quickstart="synthetic_quick",
)

__all__ = ["METHOD"]
