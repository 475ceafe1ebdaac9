"""Lightweight top-down pose networks: LPN, small HRNets and soft-argmax decoding."""

from pose_core.method import Method

METHOD = Method(
    name="lite",
    package="pose_lite",
    summary="LPN, small HRNets, soft-argmax (lightweight top-down pose)",
    models={},
)

__all__ = ["METHOD"]
