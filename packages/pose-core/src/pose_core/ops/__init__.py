"""Numeric kernels: each a plain reference, which is the truth, and a fast path that is checked against it.

``POSE_OPS=auto|reference|fast`` decides for all; `pose doctor` prints what is in use and why.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "gaussian_heatmaps": "heatmaps",
    "heatmap_loss": "losses",
    "mse_loss": "losses",
    "ohkm_loss": "losses",
    "decode_heatmaps": "decoding",
    "deform_conv": "deformable",
    "decode_flipped": "decoding",
    "soft_argmax": "decoding",
    "fuse_flip": "flipping",
    "normalise": "normalizing",
    "oks": "similarity",
    "oks_nms": "suppression",
    "paste": "pasting",
    "soft_oks_nms": "suppression",
    "tag_loss": "tags",
    "warp_crops": "warping",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pose_core.ops.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pose_core.ops' has no attribute {name!r}")
