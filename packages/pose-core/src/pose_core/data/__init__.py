"""Annotated images: readers of the published layouts, image bytes, data sets, augmentation, and synthetic people."""

from importlib import import_module
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    # `import pose_core; pose_core.synthetic.write_dataset(...)` works without importing OpenCV for everyone.
    if name == "synthetic":
        return import_module("pose_core.synthetic")
    raise AttributeError(f"module 'pose_core.data' has no attribute {name!r}")
