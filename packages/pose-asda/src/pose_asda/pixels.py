"""Normalized crops as images again."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pose_core.ops.normalizing import IMAGENET_MEAN, IMAGENET_STD


def to_pixels(image: Tensor, color: str) -> np.ndarray:
    """Return a normalized crop ``(3, H, W)`` as an RGB image."""
    pixels = image.permute(1, 2, 0).numpy() * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
    pixels = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels if color == "rgb" else pixels[..., ::-1])
