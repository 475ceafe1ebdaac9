"""Resizing of images to the network's input for testing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pose_core.geometry import Convention


class Resize(NamedTuple):
    """An input's ``size`` (w, h); ``matrix`` ``(2, 3)`` maps image pixels to input pixels, ``inverse`` back."""

    size: tuple[int, int]
    matrix: np.ndarray
    inverse: np.ndarray


def resize_for_test(
    image_size: tuple[int, int], input_size: int, scale: float = 1.0, convention: Convention = "published"
) -> Resize:
    """Resize the short side to ``input_size``, the long one to a multiple of 64, times ``scale``; sizes are (w, h)."""
    width, height = image_size
    base = (input_size + 63) // 64 * 64
    short, long = min(width, height), max(width, height)
    small = int(base * scale)
    large = int(int((base / short * long + 63) // 64 * 64) * scale)
    size = (small, large) if width < height else (large, small)
    if convention == "unbiased":
        # From pixel center to pixel center: the first and the last of the short side stay the first and the last.
        factor = (small - 1) / (short - 1)
        center = (np.array(image_size, np.float64) - 1) / 2
        middle = (np.array(size, np.float64) - 1) / 2
    else:
        # The published scale vector, in units of 200 pixels; only its first number enters the matrix.
        across = width / 200 if width < height else size[0] / size[1] * height / 200
        factor = float(size[0] / (np.float32(across) * 200))
        center = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], np.float64)
        middle = np.array(size, np.float64) / 2
    matrix = np.column_stack([np.eye(2) * factor, middle - center * factor])
    inverse = np.column_stack([np.eye(2) / factor, center - middle / factor])
    return Resize(size, matrix, inverse)
