"""Shaded, textured, anti-aliased shapes on a canvas that records the owner of each pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pose_core.synthetic.wardrobe import Color, Material

Array = np.ndarray

PARTS = (
    "background", "head", "hair", "torso",
    "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm", "left_hand", "right_hand",
    "left_thigh", "right_thigh", "left_shin", "right_shin", "left_foot", "right_foot",
)  # fmt: skip
"""Body parts, indexed by their value in a part map. The neck counts as head, a skirt as torso."""
PART = {name: i for i, name in enumerate(PARTS)}

Stroke = tuple[float, Callable[[], None]]
"""A depth towards the viewer, and a function that paints a shape at that depth."""

LIGHT = (-0.45, -0.55, 0.70)
"""The direction to the light: upper left, on the viewer's side."""
_SUBPIXEL_BITS = 4


@dataclass
class Canvas:
    """Pixels ``(H, W, 3)`` float32 RGB, and per pixel the owner (0 background, n the n-th person) and body part."""

    pixels: Array
    owner: Array
    part: Array

    @classmethod
    def on(cls, background: Array) -> Canvas:
        """Return a canvas on a background ``(H, W, 3)`` float32."""
        blank = np.zeros(background.shape[:2], np.uint8)
        return cls(background, blank, blank.copy())

    def window(self, low: Array, high: Array) -> tuple[slice, slice] | None:
        """Return the pixel rows and columns between two corners, or None if they are outside the canvas."""
        height, width = self.owner.shape
        x0, y0 = max(int(low[0]) - 1, 0), max(int(low[1]) - 1, 0)
        x1, y1 = min(int(high[0]) + 2, width), min(int(high[1]) + 2, height)
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def blend(self, window: tuple[slice, slice], alpha: Array, color: Array, owner: int, part: int) -> None:
        """Blend ``color`` (h, w, 3) or (3,) into the window with opacity ``alpha`` (h, w); set owner and part there."""
        pixels = self.pixels[window]
        pixels += (color - pixels) * alpha[..., None]
        covered = alpha > 0.5
        self.owner[window][covered] = owner
        self.part[window][covered] = part


def grid(window: tuple[slice, slice]) -> tuple[Array, Array]:
    """Return pixel coordinates x ``(1, w)`` and y ``(h, 1)``."""
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    return x, y


def paint_limb(
    canvas: Canvas,
    start: Array,
    end: Array,
    radii: tuple[float, float],
    material: Material,
    owner: int,
    part: int,
    *,
    bulge: float = 0.0,
    unit: float = 1.0,
) -> None:
    """Paint a rounded cylinder from ``start`` to ``end`` (pixels), thicker by ``bulge`` in the middle."""
    first, last = start[:2], end[:2]
    reach = max(radii) + bulge
    window = canvas.window(np.minimum(first, last) - reach, np.maximum(first, last) + reach)
    if window is None:
        return
    x, y = grid(window)
    x, y = x - np.float32(first[0]), y - np.float32(first[1])
    span = last - first
    length = float(np.hypot(*span))
    dx, dy = (span / length).astype(np.float32).tolist() if length > 1e-3 else (0.0, 1.0)
    along = x * dx + y * dy
    across = y * dx - x * dy
    inside = np.clip(along, 0, length)
    t = inside / max(length, 1e-3)
    radius = radii[0] + (radii[1] - radii[0]) * t
    if bulge:
        radius += 4 * bulge * t * (1 - t)
    alpha = np.clip(radius - np.hypot(along - inside, across) + 0.5, 0, 1)
    side = np.clip(across / radius, -1, 1)
    canvas.blend(window, alpha, _cloth(material, along, across, unit) * _cylinder_light(side, dx, dy), owner, part)


def _cylinder_light(side: Array, dx: float, dy: float) -> Array:
    """Return brightness ``(h, w, 1)`` across a cylinder along (dx, dy); ``side`` runs from −1 to 1."""
    facing = LIGHT[1] * dx - LIGHT[0] * dy
    round_off = side * side
    # The last factor darkens the rim, so that an arm is distinct from a shirt of the same cloth.
    light = (0.66 + 0.17 * facing * side + 0.46 * LIGHT[2] * (1.25 - round_off)) * (1 - 0.3 * round_off**3)
    return np.asarray(light[..., None])


def paint_polygon(
    canvas: Canvas,
    points: Array,
    material: Material,
    owner: int,
    part: int,
    *,
    axis: tuple[Array, Array] | None = None,
    width: float = 1.0,
    unit: float = 1.0,
) -> None:
    """Paint a filled outline ``(n, 2)``, shaded as a cylinder of half-width ``width`` along ``axis``, if given."""
    window = canvas.window(points.min(0), points.max(0))
    if window is None:
        return
    rows, columns = window
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    scaled = np.rint((points - (columns.start, rows.start)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [scaled], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    alpha = mask.astype(np.float32) / 255
    if axis is None:
        x, y = grid(window)
        center = points.mean(0).astype(np.float32)
        canvas.blend(window, alpha, _cloth(material, y - center[1], x - center[0], unit), owner, part)
        return
    x, y = grid(window)
    x, y = x - np.float32(axis[0][0]), y - np.float32(axis[0][1])
    dx, dy = (float(value) for value in axis[1])
    along, across = x * dx + y * dy, y * dx - x * dy
    light = _cylinder_light(np.clip(across / width, -1, 1), dx, dy)
    canvas.blend(window, alpha, _cloth(material, along, across, unit) * light, owner, part)


def paint_disc(
    canvas: Canvas, center: Array, radius: float, color: Color, owner: int, part: int, stretch: float = 1.0
) -> None:
    """Paint a flat disc, ``stretch`` times as wide as high. Small discs fade instead of vanishing."""
    reach = np.array([radius * max(stretch, 1e-3), radius])
    window = canvas.window(center[:2] - reach, center[:2] + reach)
    if window is None:
        return
    x, y = grid(window)
    distance = np.hypot((x - np.float32(center[0])) / max(stretch, 0.15), y - np.float32(center[1]))
    canvas.blend(window, np.clip(radius - distance + 0.5, 0, 1), np.array(color, np.float32), owner, part)


def _cloth(material: Material, along: Array, across: Array, unit: float) -> Array:
    """Return colors ``(h, w, 3)``, or ``(3,)`` for a plain material, at pattern coordinates in pixels."""
    color = np.array(material.color, np.float32)
    if material.pattern == "plain":
        return color
    wave = np.float32(2 * np.pi / (material.period * unit))
    if material.pattern == "stripes":
        value = np.sin(along * wave)
    elif material.pattern == "bars":
        value = np.sin(across * wave)
    elif material.pattern == "checks":
        value = np.sin(along * wave) * np.sin(across * wave) * 2
    else:
        value = np.cos(along * wave) + np.cos(across * wave) - 1.0
    # Soft edges about a pixel wide keep fine patterns from flickering.
    mix = np.clip(0.5 + value / max(2 * float(wave), 0.25), 0, 1)
    return color + (np.array(material.other, np.float32) - color) * mix[..., None]


def hull(points: Array) -> Array:
    """Return the convex hull ``(m, 2)`` of points ``(n, 2)``."""
    return np.asarray(cv2.convexHull(points.astype(np.float32)).reshape(-1, 2), dtype=np.float64)
