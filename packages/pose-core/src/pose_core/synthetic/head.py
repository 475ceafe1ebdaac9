"""Draw a head: a shaded ellipsoid with hair, ears, and the visible part of the face."""

from __future__ import annotations

import numpy as np

from pose_core.synthetic.figure import HEAD_DEPTH, HEAD_WIDTH, SIDES, Figure
from pose_core.synthetic.paint import (
    LIGHT,
    PART,
    Canvas,
    Stroke,
    grid,
    hull,
    paint_disc,
    paint_limb,
    paint_polygon,
)
from pose_core.synthetic.wardrobe import Color, Material, Outfit

Array = np.ndarray


def head_strokes(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> list[Stroke]:
    """Return strokes for neck, head and hair."""
    unit = figure.unit
    thorax, center = figure["thorax"], figure["head_center"]
    depth = float(center[2])
    neck = 0.030 * unit * (0.8 + 0.2 * figure.build.girth)
    skin = Material(outfit.skin)
    strokes: list[Stroke] = [
        (
            float(figure["neck"][2]) - 0.02 * unit,
            lambda: paint_limb(canvas, thorax, center, (neck * 1.1, neck), skin, owner, PART["head"], unit=unit),
        ),
        (depth + 0.05 * unit, lambda: draw_head(canvas, figure, outfit, owner)),
    ]
    half, (_, down, front) = figure.build.head / 2 * unit, figure.head_frame
    hair = Material(outfit.hair)
    if outfit.hair_style == "long":
        root = center - 0.35 * half * front
        tip = center + half * (1.75 * down - 0.45 * front)
        radii = (half * 0.86, half * 0.62)
        strokes.append(
            (
                depth - half * 0.7 * front[2] + (0.04 if front[2] < 0 else -0.02) * unit,
                lambda: paint_limb(canvas, root, tip, radii, hair, owner, PART["hair"], unit=unit),
            )
        )
    elif outfit.hair_style == "bun":
        knot = center - half * (0.95 * front + 0.62 * down)
        strokes.append(
            (
                float(knot[2]) + (0.06 if front[2] < 0 else 0.0) * unit,
                lambda: paint_limb(canvas, knot, knot, (half * 0.4, half * 0.4), hair, owner, PART["hair"], unit=unit),
            )
        )
    return strokes


def draw_head(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> None:
    """Draw the head as a shaded ellipsoid with hair, then ears and face."""
    half = figure.build.head / 2 * figure.unit
    center = figure["head_center"]
    left, down, front = figure.head_frame
    for side, sign in SIDES:
        # The far ear is behind the head.
        if sign * left[2] < -0.25:
            _ear(canvas, figure, outfit, owner, side)
    window = canvas.window(center[:2] - half * 1.1, center[:2] + half * 1.1)
    if window is None:
        return
    x, y = grid(window)
    x, y = (x - np.float32(center[0])) / half, (y - np.float32(center[1])) / half
    # The silhouette of an ellipsoid with axes left, down, front is an ellipse; its normals come from the inverse form.
    axes = np.array([left * HEAD_WIDTH, down, front * HEAD_DEPTH])
    spread = np.linalg.inv(axes[:, :2].T @ axes[:, :2])
    squared = spread[0, 0] * x * x + 2 * spread[0, 1] * x * y + spread[1, 1] * y * y
    edge = np.sqrt(squared)
    alpha = np.clip((1 - edge) * half * 0.9 + 0.5, 0, 1).astype(np.float32)
    form = np.linalg.inv(axes.T @ axes)
    z = _nearest_z(form, x, y)
    # (h, w) position on the ellipsoid in the head's own axes, each from −1 to 1.
    local = [(axis[0] * x + axis[1] * y + axis[2] * z) / float(axis @ axis) for axis in axes]
    color, hairy = _head_color(outfit, *local)
    bright = 0.74 + 0.30 * (LIGHT[0] * x + LIGHT[1] * y + LIGHT[2] * z)
    canvas.blend(window, alpha, color * bright[..., None], owner, PART["head"])
    hair = (alpha > 0.5) & (hairy > 0.5)
    canvas.part[window][hair] = PART["hair"]
    for side, sign in SIDES:
        if sign * left[2] >= -0.25:
            _ear(canvas, figure, outfit, owner, side)
    _face(canvas, figure, outfit, owner)
    if outfit.hair_style == "cap":
        _brim(canvas, figure, outfit, owner)


def _nearest_z(form: Array, x: Array, y: Array) -> Array:
    """Return z of the ellipsoid ``pᵀ·form·p = 1`` nearest to the viewer; that of the rim if the ray misses."""
    linear = form[0, 2] * x + form[1, 2] * y
    rest = form[0, 0] * x * x + 2 * form[0, 1] * x * y + form[1, 1] * y * y - 1
    root = np.sqrt(np.maximum(linear * linear - form[2, 2] * rest, 0))
    return np.asarray((root - linear) / form[2, 2])


def _head_color(outfit: Outfit, left: Array, down: Array, front: Array) -> tuple[Array, Array]:
    """Return colors ``(h, w, 3)`` of a head's pixels, and the opacity ``(h, w)`` of hair and cap there."""
    skin, hair = np.array(outfit.skin, np.float32), np.array(outfit.hair, np.float32)
    if outfit.hair_style == "bald":
        hairy = np.zeros(np.shape(left), np.float32)
    else:
        # Negative on the face: the hairline runs over the forehead, in front of the ears, to the nape.
        line = 0.12 - (0.95 * front + 0.62 * down)
        if outfit.hair_style in {"short", "cap"}:
            line = np.minimum(line, 0.62 - down)
        hairy = np.clip(line * 9 + 0.5, 0, 1)
    color = skin + (hair - skin) * hairy[..., None]
    if outfit.hair_style == "cap":
        cap = np.clip((-0.28 - down - 0.1 * front) * 9, 0, 1)
        color = color + (np.array(outfit.cap, np.float32) - color) * cap[..., None]
        hairy = np.maximum(hairy, cap)
    if outfit.beard:
        beard = np.clip((down - 0.42) * 7, 0, 1) * np.clip(front * 5, 0, 1) * (1 - hairy)
        color = color + (hair - color) * 0.85 * beard[..., None]
    return color, hairy


def _ear(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int, side: str) -> None:
    if outfit.hair_style == "long":
        return
    half = figure.build.head / 2 * figure.unit
    red, green, blue = outfit.skin
    paint_disc(canvas, figure[f"{side}_ear"], half * 0.22, (red * 0.93, green * 0.86, blue * 0.84), owner, PART["head"])


def _face(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> None:
    """Draw eyes, brows, nose and mouth, each only if the head does not hide it."""
    half, part = figure.build.head / 2 * figure.unit, PART["head"]
    left, down, front = figure.head_frame
    center = figure["head_center"]
    if front[2] < -0.35:
        return
    red, green, blue = outfit.skin
    dark: Color = (red * 0.25, green * 0.2, blue * 0.2)
    for side, sign in SIDES:
        eye = figure[f"{side}_eye"]
        facing = float((front + 0.45 * sign * left)[2])
        if facing < 0.12:
            continue
        squash = float(np.clip(facing * 1.1, 0.35, 1))
        paint_disc(canvas, eye, half * 0.16, (250, 250, 250), owner, part, squash)
        paint_disc(canvas, eye, half * 0.11, (38, 30, 34), owner, part, squash)
        if half > 7:
            brow = eye - half * 0.26 * down
            span = half * 0.14 * left
            paint_limb(canvas, brow - span, brow + span, (half * 0.04,) * 2, Material(dark), owner, part)
        if outfit.glasses and half > 5:
            _rim(canvas, eye, half * 0.26, owner, part)
    if front[2] < 0.05 and half < 6:
        return
    base = center + half * (0.2 * down + HEAD_DEPTH * 0.92 * front)
    nose = Material((red * 0.86, green * 0.74, blue * 0.70))
    paint_limb(canvas, base, figure["nose"], (half * 0.12, half * 0.11), nose, owner, part)
    if front[2] > 0.1:
        mouth = center + half * (0.52 * down + HEAD_DEPTH * 0.78 * front)
        lips = Material((178.0, 74.0, 70.0))
        for corner in (-0.2 * left, 0.2 * left):
            smile = mouth + half * (corner - 0.07 * down)
            paint_limb(canvas, smile, mouth, (half * 0.05, half * 0.06), lips, owner, part)


def _rim(canvas: Canvas, eye: Array, radius: float, owner: int, part: int) -> None:
    turn = np.linspace(0, 2 * np.pi, 16)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    outline = np.concatenate([ring * radius, ring[::-1] * radius * 0.78]) + eye[:2]
    paint_polygon(canvas, outline, Material((40.0, 36.0, 40.0)), owner, part)


def _brim(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> None:
    """Draw a cap's brim in the direction of the face."""
    left, down, front = figure.head_frame
    if front[2] < -0.5:
        return
    half = figure.build.head / 2 * figure.unit
    base = figure["head_center"] - half * 0.36 * down
    turn = np.linspace(-1.25, 1.25, 9)
    edge = base + half * (
        np.sin(turn)[:, None] * left * 0.78 + np.cos(turn)[:, None] * front * 1.5 + 0.16 * np.cos(turn)[:, None] * down
    )
    red, green, blue = outfit.cap
    brim = Material((red * 0.8, green * 0.8, blue * 0.8))
    paint_polygon(canvas, hull(edge[:, :2]), brim, owner, PART["hair"])
