"""Draw one clothed figure, its parts from the farthest to the nearest."""

from __future__ import annotations

import numpy as np

from pose_core.synthetic.figure import SIDES, Figure
from pose_core.synthetic.head import head_strokes
from pose_core.synthetic.paint import PART, Canvas, Stroke, hull, paint_limb, paint_polygon
from pose_core.synthetic.wardrobe import Material, Outfit

Array = np.ndarray

# Cross-sections of the torso from the shoulders down: position along the spine, half-width, half-depth (heights).
_TORSO = np.array(
    [
        [-0.085, 0.36, 0.040], [-0.04, 0.74, 0.046], [0.04, 0.98, 0.054], [0.16, 0.94, 0.066], [0.36, 0.86, 0.068],
        [0.62, 0.72, 0.060], [0.86, 0.82, 0.066], [1.02, 0.86, 0.068], [1.13, 0.68, 0.056],
    ]
)  # fmt: skip


def draw_figure(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> None:
    """Paint ``figure``; its pixels belong to ``owner``."""
    strokes: list[Stroke] = []
    for side, _ in SIDES:
        strokes += _leg(canvas, figure, outfit, owner, side)
        strokes += _arm(canvas, figure, outfit, owner, side)
    strokes += _torso(canvas, figure, outfit, owner)
    strokes += head_strokes(canvas, figure, outfit, owner)
    for _, stroke in sorted(strokes, key=lambda item: item[0]):
        stroke()


def _leg(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int, side: str) -> list[Stroke]:
    unit, girth = figure.unit, figure.build.girth
    hip, knee, ankle = (figure[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    heel, toe = figure[f"{side}_heel"], figure[f"{side}_toe"]
    bare, cloth = Material(outfit.skin), outfit.bottom
    loose = 1.12 if outfit.legwear == "pants" else 1.0
    top, mid, low = (value * unit * girth * loose for value in (0.049, 0.036, 0.023))
    thigh_part, shin_part, foot_part = (PART[f"{side}_{name}"] for name in ("thigh", "shin", "foot"))
    shorts_end = knee * 0.72 + hip * 0.28

    def thigh() -> None:
        stuff = cloth if outfit.legwear == "pants" else bare
        paint_limb(canvas, hip, knee, (top, mid), stuff, owner, thigh_part, unit=unit)
        if outfit.legwear == "shorts":
            paint_limb(canvas, hip, shorts_end, (top * 1.06, mid * 1.28), cloth, owner, thigh_part, unit=unit)

    def shin() -> None:
        stuff = cloth if outfit.legwear == "pants" else bare
        bulge = 0.0 if outfit.legwear == "pants" else 0.006 * unit
        paint_limb(canvas, knee, ankle, (mid * 0.97, low), stuff, owner, shin_part, bulge=bulge, unit=unit)

    def foot() -> None:
        sole = np.array([0, 0.008 * unit, 0])
        paint_limb(canvas, heel + sole, toe + sole, (0.024 * unit, 0.021 * unit), _SOLE, owner, foot_part)
        paint_limb(canvas, heel, toe, (0.027 * unit, 0.020 * unit), Material(outfit.shoes), owner, foot_part)

    return [
        (_depth(hip, knee), thigh),
        (_depth(knee, ankle) - 0.002 * unit, shin),
        (_depth(heel, toe) - (0.004 if outfit.legwear == "pants" else -0.004) * unit, foot),
    ]


_SOLE = Material((236.0, 232.0, 226.0))


def _arm(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int, side: str) -> list[Stroke]:
    unit, girth = figure.unit, figure.build.girth
    shoulder, elbow, wrist, hand = (figure[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "hand"))
    bare, cloth = Material(outfit.skin), outfit.top
    loose = 1.16 if outfit.sleeves == "long" else 1.0
    top, mid, low = (value * unit * girth * loose for value in (0.030, 0.025, 0.018))
    upper_part, fore_part, hand_part = (PART[f"{side}_{name}"] for name in ("upper_arm", "forearm", "hand"))
    stuff = cloth if outfit.sleeves == "long" else bare

    def upper() -> None:
        paint_limb(canvas, shoulder, elbow, (top, mid), stuff, owner, upper_part, unit=unit)
        if outfit.sleeves == "short":
            end = elbow * 0.52 + shoulder * 0.48
            paint_limb(canvas, shoulder, end, (top * 1.1, mid * 1.4), cloth, owner, upper_part, unit=unit)

    def fore() -> None:
        paint_limb(canvas, elbow, wrist, (mid * 0.98, low), stuff, owner, fore_part, unit=unit)

    def palm() -> None:
        paint_limb(canvas, wrist, hand, (0.019 * unit, 0.021 * unit), bare, owner, hand_part)

    # Arms lie on the torso rather than in it, so they are moved towards the viewer.
    return [
        (_depth(shoulder, elbow) + 0.03 * unit, upper),
        (_depth(elbow, wrist) + 0.034 * unit, fore),
        (_depth(wrist, hand) + 0.033 * unit, palm),
    ]


def _depth(*points: Array) -> float:
    return float(sum(point[2] for point in points) / len(points))


def _torso(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> list[Stroke]:
    unit, part = figure.unit, PART["torso"]
    thorax, pelvis = figure["thorax"], figure["pelvis"]
    outline, axis, width = _torso_outline(figure)
    front = float(figure.torso_frame[2, 2])
    depth = _depth(thorax, pelvis)

    def body() -> None:
        paint_polygon(canvas, outline, outfit.top, owner, part, axis=axis, width=width, unit=unit)
        if front > 0.1:
            _chest(canvas, figure, outfit, owner, outline)

    strokes: list[Stroke] = [(depth + 0.012 * unit, body)]
    if outfit.legwear in {"skirt", "dress"}:
        hem, skirt_depth = _skirt_outline(figure)

        def skirt() -> None:
            paint_polygon(canvas, hem, outfit.bottom, owner, part, axis=axis, width=width * 1.3, unit=unit)

        strokes.append((max(skirt_depth, depth) + 0.011 * unit, skirt))
    else:
        strokes.append((depth + 0.008 * unit, lambda: _seat(canvas, figure, outfit, owner)))
    if outfit.backpack is not None:
        color, back = outfit.backpack, -0.085 * unit * figure.torso_frame[2]
        first, last = (thorax * (1 - s) + pelvis * s + back for s in (0.22, 0.62))
        strokes.append(
            (
                depth + back[2] * 1.6,
                lambda: paint_limb(
                    canvas, first, last, (0.07 * unit, 0.075 * unit), Material(color), owner, part, unit=unit
                ),
            )
        )
    return strokes


def _torso_outline(figure: Figure) -> tuple[Array, tuple[Array, Array], float]:
    """Return outline ``(n, 2)``, axis (origin, unit direction) and half-width of the torso's silhouette."""
    unit, build = figure.unit, figure.build
    thorax, pelvis = figure["thorax"][:2], figure["pelvis"][:2]
    spine = pelvis - thorax
    length = float(np.hypot(*spine))
    direction = spine / length if length > 1e-3 else np.array([0.0, 1.0])
    normal = np.array([-direction[1], direction[0]])
    s = _TORSO[:, :1]
    blend = np.clip(s, 0, 1)
    left = figure.torso_frame[0, :2] * (1 - blend) + figure.pelvis_frame[0, :2] * blend
    front = figure.torso_frame[2, :2] * (1 - blend) + figure.pelvis_frame[2, :2] * blend
    wide = left * _TORSO[:, 1:2] * build.shoulder * (0.85 + 0.15 * build.girth) * unit
    deep = front * _TORSO[:, 2:3] * build.girth * unit
    centers = thorax + s * spine
    half = np.hypot(wide @ normal, deep @ normal)
    axis, width = (thorax, direction), float(half.max())
    if length > 0.6 * build.torso * unit:
        return np.concatenate([centers + half[:, None] * normal, (centers - half[:, None] * normal)[::-1]]), axis, width
    # Seen along the spine, the silhouette is the hull of the cross-sections.
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rings = centers[:, None] + np.cos(turn)[:, None] * wide[:, None] + np.sin(turn)[:, None] * deep[:, None]
    return hull(rings.reshape(-1, 2)), axis, width


def _seat(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int) -> None:
    """Draw the part of trousers between the hips, below the shirt."""
    unit, girth = figure.unit, figure.build.girth
    radius = 0.050 * unit * girth
    left, right = figure["left_hip"], figure["right_hip"]
    raised = np.array([0, -0.012 * unit, 0])
    paint_limb(canvas, left + raised, right + raised, (radius, radius), outfit.bottom, owner, PART["torso"], unit=unit)


def _skirt_outline(figure: Figure) -> tuple[Array, float]:
    """Return the hull of the waist, the hips and the hem around both thighs, and its depth."""
    unit, girth = figure.unit, figure.build.girth
    waist = figure["pelvis"] * 0.72 + figure["thorax"] * 0.28
    rings = [(waist, 0.058)]
    for side, _ in SIDES:
        hip, knee = figure[f"{side}_hip"], figure[f"{side}_knee"]
        rings += [(hip, 0.056), (hip * 0.3 + knee * 0.7, 0.066)]
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    points = np.concatenate([center[:2] + circle * radius * unit * girth for center, radius in rings])
    return hull(points), max(_depth(center) for center, _ in rings)


def _chest(canvas: Canvas, figure: Figure, outfit: Outfit, owner: int, outline: Array) -> None:
    """Draw details of the front: an emblem, the shirt below an open jacket, a collar."""
    unit, part = figure.unit, PART["torso"]
    thorax, pelvis = figure["thorax"], figure["pelvis"]
    left, _, front = figure.torso_frame
    surface = 0.058 * unit * front
    if outfit.jacket:
        ends = [thorax * (1 - s) + pelvis * s + surface for s in (0.1, 0.95)]
        width = 0.026 * unit * max(abs(float(left[0])), 0.25)
        shirt = Material(outfit.emblem)
        paint_limb(canvas, ends[0], ends[1], (width * 1.3, width), shirt, owner, part, unit=unit)
    elif outfit.emblem_shape != "none":
        center = thorax * 0.66 + pelvis * 0.34 + surface
        outline = _emblem(outfit.emblem_shape) * 0.045 * unit
        down = pelvis[:2] - thorax[:2]
        down = down / max(float(np.hypot(*down)), 1e-3)
        placed = center[:2] + outline[:, :1] * left[:2] + outline[:, 1:] * down
        paint_polygon(canvas, placed, Material(outfit.emblem), owner, part)
    collar = thorax + 0.03 * unit * front
    skin = Material(outfit.skin)
    paint_limb(canvas, figure["neck"], collar, (0.03 * unit, 0.022 * unit), skin, owner, PART["head"])


def _emblem(shape: str) -> Array:
    """Return an outline ``(n, 2)`` within the unit circle."""
    corners = {"disc": 14, "star": 10, "square": 4}[shape]
    turn = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    radius = np.where(np.arange(corners) % 2, 0.45, 1.0) if shape == "star" else np.ones(corners)
    return np.stack([np.cos(turn), np.sin(turn)], 1) * np.asarray(radius)[:, None]
