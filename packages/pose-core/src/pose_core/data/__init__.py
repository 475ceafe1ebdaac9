"""Annotated images: image bytes, formats of annotation files, samplers and caches."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core import synthetic as synthetic


def __getattr__(name: str) -> ModuleType:
    # An alias of `pose_core.synthetic`, imported on first use because it loads OpenCV.
    if name == "synthetic":
        from pose_core import synthetic

        return synthetic
    raise AttributeError(f"module 'pose_core.data' has no attribute {name!r}")
