"""Numeric kernels: each a plain reference, which is the truth, and a fast path that is checked against it.

``POSE_OPS=auto|reference|fast`` decides for all; `pose doctor` prints what is in use and why.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "gaussian_heatmaps": "gaussian_heatmaps",
    "heatmap_loss": "heatmap_loss",
    "mse_loss": "heatmap_loss",
    "ohkm_loss": "heatmap_loss",
    "decode_heatmaps": "decode_heatmaps",
    "deform_conv": "deform_conv",
    "decode_flipped": "decode_heatmaps",
    "soft_argmax": "decode_heatmaps",
    "fuse_flip": "fuse_flip",
    "normalise": "normalise",
    "oks": "oks",
    "oks_nms": "oks_nms",
    "paste": "paste",
    "soft_oks_nms": "oks_nms",
    "tag_loss": "tag_loss",
    "warp_crops": "warp_crops",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pose_core.ops._{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pose_core.ops' has no attribute {name!r}")
