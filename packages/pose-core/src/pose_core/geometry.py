"""Crops of people, and the affine map from image to network input.

Two conventions exist. The *published* one (SimpleBaseline, HRNet, and their successors) maps the crop's center to
``(w/2, h/2)`` and a box of ``200·scale`` pixels to ``w`` pixels; joints are mapped to the heatmap by dividing by the
stride. The *unbiased* one (UDP) measures between pixel centers: it maps ``200·scale`` pixels to ``w − 1``, and does the
same from input to heatmap. No other module depends on the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

Convention = Literal["published", "unbiased"]
Size = tuple[int, int]
Array = np.ndarray

PIXEL_STD = 200.0
"""The unit of scales, in pixels: MPII's convention, which SimpleBaseline and HRNet keep."""


def fit_aspect(width: float, height: float, aspect: float) -> tuple[float, float]:
    """Enlarge one side so that ``width / height == aspect``."""
    if width > aspect * height:
        return width, width / aspect
    if width < aspect * height:
        return height * aspect, height
    return width, height


def box_to_center_scale(
    box: tuple[float, float, float, float] | Array, aspect: float, padding: float = 1.25
) -> tuple[Array, Array]:
    """Return center ``(2,)`` and scale ``(2,)`` of a crop around a box ``(x, y, w, h)``; ``aspect`` is width/height."""
    x, y, w, h = (float(value) for value in box)
    width, height = fit_aspect(w, h, aspect)
    center = np.array([x + w * 0.5, y + h * 0.5], dtype=np.float32)
    scale = np.array([width / PIXEL_STD, height / PIXEL_STD], dtype=np.float32)
    # −1 marks "no center" in the published records, which are then left unpadded.
    return center, scale * np.float32(padding) if center[0] != -1 else scale


def half_body_center_scale(
    joints: Array, upper_body: tuple[int, ...], aspect: float, prefer_upper: bool, min_joints: int = 2
) -> tuple[Array, Array] | None:
    """Return center and scale around the upper or the lower body, or None if too few joints are labeled.

    ``joints`` is ``(K, 3)``. A half is preferred only with more than ``min_joints`` joints, and used only with at least
    as many: 2 in HRNet, 3 in ASDA.
    """
    labeled = joints[:, 2] > 0
    is_upper = np.zeros(len(joints), dtype=bool)
    is_upper[list(upper_body)] = True
    upper, lower = np.flatnonzero(labeled & is_upper), np.flatnonzero(labeled & ~is_upper)
    if prefer_upper and len(upper) > min_joints:
        chosen = upper
    else:
        chosen = lower if len(lower) > min_joints else upper
    if len(chosen) < min_joints:
        return None
    points = joints[chosen, :2].astype(np.float32)
    extent = points.max(0) - points.min(0)
    width, height = fit_aspect(float(extent[0]), float(extent[1]), aspect)
    return points.mean(0), np.array([width, height], dtype=np.float32) / np.float32(PIXEL_STD) * np.float32(1.5)


def heatmap_ratio(input_size: Size, heatmap_size: Size, convention: Convention) -> tuple[float, float]:
    """Return the number of heatmap pixels per input pixel, along x and y."""
    less = 1 if convention == "unbiased" else 0
    return (
        (heatmap_size[0] - less) / (input_size[0] - less),
        (heatmap_size[1] - less) / (input_size[1] - less),
    )


@dataclass(frozen=True)
class Crop:
    """The affine map from an image to a network input of ``size`` (w, h), and back.

    ``rotation`` is in degrees. ``mirror_width`` is the image's width if the image is mirrored first (pixel x moves to
    ``width − 1 − x``); ``center`` is then given in the *mirrored* image, as in the published pipeline.
    """

    center: Array
    scale: Array
    size: Size
    rotation: float = 0.0
    mirror_width: int | None = None
    convention: Convention = "published"

    @cached_property
    def matrix(self) -> Array:
        """The map from image to input, ``(2, 3)`` float64."""
        return self._matrix_to(self.size)

    @property
    def pixels_shown(self) -> float:
        """The number of image pixels per input pixel, along the axis with fewer."""
        return 1 / float(np.sqrt(np.square(self.matrix[:, :2]).sum(1)).max())

    @cached_property
    def inverse(self) -> Array:
        """The map from input to image, ``(2, 3)`` float64."""
        return invert_affine(self.matrix)

    def _matrix_to(self, size: Size) -> Array:
        # Plain floats: for six numbers, calls of NumPy take several times as long.
        less = 1 if self.convention == "unbiased" else 0
        zoom_x = (size[0] - less) / (float(self.scale[0]) * PIXEL_STD)
        # The published map keeps the aspect ratio and uses the width only.
        zoom_y = zoom_x if self.convention == "published" else (size[1] - less) / (float(self.scale[1]) * PIXEL_STD)
        angle = math.radians(self.rotation)
        cos, sin = math.cos(angle), math.sin(angle)
        a, b, c, d = zoom_x * cos, zoom_x * sin, -zoom_y * sin, zoom_y * cos
        x, y = float(self.center[0]), float(self.center[1])
        right, down = (size[0] - less) / 2 - (a * x + b * y), (size[1] - less) / 2 - (c * x + d * y)
        if self.mirror_width is not None:
            right, down = right + a * (self.mirror_width - 1), down + c * (self.mirror_width - 1)
            a, c = -a, -c
        return np.array([[a, b, right], [c, d, down]])

    def to_input(self, points: Array) -> Array:
        """Map image points ``(…, 2)`` to the input."""
        return apply_affine(self.matrix, points)

    def to_image(self, points: Array) -> Array:
        """Map input points ``(…, 2)`` to the image."""
        return apply_affine(self.inverse, points)

    def heatmap_to_image(self, points: Array, heatmap_size: Size) -> Array:
        """Map heatmap points ``(…, 2)`` to the image."""
        return apply_affine(invert_affine(self._matrix_to(heatmap_size)), points)


def invert_affine(matrix: Array) -> Array:
    """Return the inverse of affine maps ``(…, 2, 3)``."""
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], -1)


def apply_affine(matrix: Array, points: Array) -> Array:
    """Apply a ``(2, 3)`` map to points ``(…, 2)``."""
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def apply_affines(matrices: Array, points: Array) -> Array:
    """Apply the maps ``(N, 2, 3)`` to points ``(N, K, 2)``, one map per row."""
    return np.asarray(points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2])


def flip_joints(joints: Array, width: int, flip_order: Array) -> Array:
    """Mirror ``(K, 3)`` joints in an image of ``width``: x → width − 1 − x, left and right swapped.

    Unlabeled joints become zero, as in the published pipeline.
    """
    mirrored = joints[flip_order].copy()
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return np.where(mirrored[:, 2:] > 0, mirrored, 0).astype(joints.dtype)


def box_overlap(first: Array, second: Array) -> Array:
    """Return the intersection over union of boxes ``(…, 4)`` x, y, w, h, which are broadcast; 0 for empty ones."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    areas = first[..., 2:].prod(-1) + second[..., 2:].prod(-1)
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
