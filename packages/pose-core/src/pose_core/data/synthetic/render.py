"""Drawing figures: clothed, textured, shaded body parts, from the farthest to the nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from pose_core.data.synthetic.figure import Figure

Array = np.ndarray
Color = tuple[int, int, int]

PARTS = (
    "background", "head", "hair", "torso", "left_upper_arm", "left_forearm", "left_hand", "right_upper_arm",
    "right_forearm", "right_hand", "left_thigh", "left_shin", "left_foot", "right_thigh", "right_shin", "right_foot",
)  # fmt: skip
"""Body parts; a part's number in a label map is its place here."""

SHIFT = 4
"""OpenCV draws at sixteenths of a pixel."""


@dataclass(frozen=True)
class Outfit:
    """What a figure wears, and its skin and hair, RGB."""

    skin: Color
    hair: Color
    shirt: Color
    accent: Color
    trousers: Color
    shoes: Color
    pattern: Literal["plain", "stripes", "hoops", "checks", "dots"]
    sleeve: Literal["long", "short", "none"]
    legs: Literal["long", "short", "skirt"]
    long_hair: bool
    badge: Color


class Piece(NamedTuple):
    """One thing to draw: a polygon with a colour and a part number, at a depth."""

    depth: float
    part: int
    outline: Array
    color: Color
    detail: str


SKINS = ((255, 219, 186), (241, 194, 150), (224, 172, 115), (198, 134, 84), (141, 85, 48), (92, 58, 38))
HAIRS = ((30, 24, 20), (60, 40, 26), (110, 72, 38), (190, 148, 80), (150, 60, 30), (120, 120, 124))


def _vivid(rng: np.random.Generator) -> Color:
    """A cloth colour: any hue, from pale to saturated, dark to light."""
    hsv = np.array([[[rng.uniform(0, 180), rng.uniform(20, 230), rng.uniform(50, 245)]]], np.uint8)
    r, g, b = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(r), int(g), int(b)


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Random clothes; trousers differ from the shirt, the badge on the chest from both."""
    shirt = _vivid(rng)
    accent: Color = tuple(255 - c for c in shirt) if rng.random() < 0.4 else _vivid(rng)  # type: ignore[assignment]
    tone = rng.uniform(0.9, 1.08)
    skin: Color = tuple(int(np.clip(c * tone, 0, 255)) for c in SKINS[rng.integers(len(SKINS))])  # type: ignore[assignment]
    return Outfit(
        skin=skin,
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=shirt,
        accent=accent,
        trousers=_vivid(rng),
        shoes=_vivid(rng),
        pattern=str(rng.choice(["plain", "stripes", "hoops", "checks", "dots"], p=[0.4, 0.15, 0.2, 0.15, 0.1])),  # type: ignore[arg-type]
        sleeve=str(rng.choice(["long", "short", "none"], p=[0.4, 0.5, 0.1])),  # type: ignore[arg-type]
        legs=str(rng.choice(["long", "short", "skirt"], p=[0.65, 0.22, 0.13])),  # type: ignore[arg-type]
        long_hair=bool(rng.random() < 0.4),
        badge=_vivid(rng),
    )


def _shade(color: Color, factor: float) -> Color:
    return tuple(int(np.clip(c * factor, 0, 255)) for c in color)  # type: ignore[return-value]


def _capsule(start: Array, end: Array, start_width: float, end_width: float) -> Array:
    """A tapered limb with round ends, ``(16, 2)``."""
    along = end - start
    length = float(np.hypot(*along)) or 1e-6
    angle = np.arctan2(along[1], along[0])
    if length < abs(start_width - end_width):  # seen end on
        radius = max(start_width, end_width)
        turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        return start + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    back = np.linspace(angle + np.pi / 2, angle + 3 * np.pi / 2, 8)
    front = np.linspace(angle - np.pi / 2, angle + np.pi / 2, 8)
    return np.concatenate(
        [
            start + start_width * np.stack([np.cos(back), np.sin(back)], 1),
            end + end_width * np.stack([np.cos(front), np.sin(front)], 1),
        ]
    )


def figure_pieces(figure: Figure, outfit: Outfit, project: Array) -> list[Piece]:
    """A figure's parts in image coordinates, farthest first. ``project`` is ``(scale, x, y)``."""
    scale, origin = float(project[0]), project[1:]
    points = figure.points
    flat = {name: point[:2] * scale + origin for name, point in points.items()}
    girth = figure.girth * scale
    pieces: list[Piece] = []

    def limb(part: str, start: str, end: str, width: float, tip: float, color: Color, lift: float = 0.0) -> None:
        outline = _capsule(flat[start], flat[end], width * girth, tip * girth)
        depth = float(points[start][2] + points[end][2]) / 2 + lift
        pieces.append(Piece(depth, PARTS.index(part), outline, color, "limb"))

    for side in ("left", "right"):
        sleeve = outfit.sleeve
        far = 0.86 if points[f"{side}_shoulder"][2] < points["thorax"][2] - 0.06 else 1.0
        upper = outfit.skin if sleeve == "none" else outfit.shirt
        lower = outfit.shirt if sleeve == "long" else outfit.skin
        # Arms lie outside the trunk: a little nearer in front of it, a little farther behind.
        limb(f"{side}_hand", f"{side}_wrist", f"{side}_hand", 0.036, 0.04, _shade(outfit.skin, far))
        limb(f"{side}_forearm", f"{side}_elbow", f"{side}_wrist", 0.045, 0.034, _shade(lower, 0.97 * far), 0.005)
        limb(f"{side}_upper_arm", f"{side}_shoulder", f"{side}_elbow", 0.06, 0.047, _shade(upper, 0.93 * far), 0.0)
        far = 0.86 if points[f"{side}_hip"][2] < points["pelvis"][2] - 0.04 else 1.0
        thigh = outfit.trousers
        shin = outfit.trousers if outfit.legs == "long" else outfit.skin
        limb(f"{side}_foot", f"{side}_ankle", f"{side}_toe", 0.045, 0.034, _shade(outfit.shoes, far))
        limb(f"{side}_shin", f"{side}_knee", f"{side}_ankle", 0.062, 0.042, _shade(shin, 0.95 * far), 0.004)
        limb(f"{side}_thigh", f"{side}_hip", f"{side}_knee", 0.085, 0.062, _shade(thigh, far), 0.008)
    pieces.append(_torso(points, flat, girth, outfit))
    if outfit.legs == "skirt":
        pieces.append(_skirt(points, flat, girth, outfit))
    pieces += _head(figure, flat, scale, outfit)
    return sorted(pieces, key=lambda piece: piece.depth)


def _torso(points: dict[str, Array], flat: dict[str, Array], girth: float, outfit: Outfit) -> Piece:
    """Shoulders to hips, with the shoulders' roundness and a waist; edge-on it keeps a chest's depth."""
    corners = [flat["left_shoulder"], flat["right_shoulder"], flat["right_hip"], flat["left_hip"]]
    circles = [
        _capsule(c, c + 1e-3, r * girth, r * girth) for c, r in zip(corners, (0.06, 0.06, 0.085, 0.085), strict=True)
    ]
    middle = (flat["thorax"] + flat["pelvis"]) / 2
    circles.append(_capsule(flat["thorax"], middle, 0.1 * girth, 0.105 * girth))
    circles.append(_capsule(flat["pelvis"], middle, 0.1 * girth, 0.105 * girth))
    circles.append(_capsule(flat["neck"], flat["thorax"], 0.045 * girth, 0.07 * girth))
    outline = cv2.convexHull(np.concatenate(circles).astype(np.float32))[:, 0]
    depth = float(points["thorax"][2] + points["pelvis"][2]) / 2
    return Piece(depth, PARTS.index("torso"), outline, outfit.shirt, "torso")


def _skirt(points: dict[str, Array], flat: dict[str, Array], girth: float, outfit: Outfit) -> Piece:
    hems = [0.45 * flat[f"{s}_hip"] + 0.55 * flat[f"{s}_knee"] for s in ("left", "right")]
    circles = [_capsule(c, c + 1e-3, 0.09 * girth, 0.09 * girth) for c in (flat["left_hip"], flat["right_hip"])]
    circles += [_capsule(c, c + 1e-3, 0.11 * girth, 0.11 * girth) for c in hems]
    outline = cv2.convexHull(np.concatenate(circles).astype(np.float32))[:, 0]
    return Piece(float(points["pelvis"][2]) + 0.08, PARTS.index("torso"), outline, _shade(outfit.trousers, 0.9), "limb")


def _head(figure: Figure, flat: dict[str, Array], scale: float, outfit: Outfit) -> list[Piece]:
    points = figure.points
    center, top, chin = flat["head"], flat["head_top"], flat["chin"]
    depth = max(float(points["head"][2]), float(points["thorax"][2]) + 0.02) + 0.1
    radius = 0.125 * scale
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    up = top - center
    up = up / (np.hypot(*up) + 1e-6)
    right = np.array([-up[1], up[0]])
    ring = np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * up * 1.12
    skull = cv2.convexHull(
        np.concatenate([center + ring * radius * 0.88, _capsule(chin, center, 0.35 * radius, 0.6 * radius)]).astype(
            np.float32
        )
    )[:, 0]
    neck = _capsule(flat["neck"] + (flat["thorax"] - flat["neck"]) * 0.5, center, 0.055 * scale, 0.05 * scale)
    pieces = [
        Piece(depth - 0.03, PARTS.index("head"), neck, _shade(outfit.skin, 0.88), "limb"),
        Piece(depth, PARTS.index("head"), skull, outfit.skin, "limb"),
    ]
    # Hair covers the skull's back: all of it seen from behind, a cap seen from the front.
    back = center - figure.facing[:2] * radius * 0.45 + up * radius * (0.3 if figure.facing[2] > 0 else 0.12)
    cap = back + ring * radius * (0.95 if figure.facing[2] > 0 else 1.05)
    if figure.facing[2] > 0.15:
        lower = (cap - center) @ up < radius * (0.42 + 0.1 * figure.facing[1])
        cap = cap[~lower] if (~lower).sum() > 3 else cap
    pieces.append(Piece(depth + 0.01, PARTS.index("hair"), cap.astype(np.float32), outfit.hair, "hair"))
    if outfit.long_hair:
        fall = _capsule(back, back - up * radius * 1.5, radius * 0.98, radius * 0.8)
        pieces.append(
            Piece(
                depth - 0.06 if figure.facing[2] > 0 else depth + 0.02, PARTS.index("hair"), fall, outfit.hair, "hair"
            )
        )
    pieces.append(Piece(depth + 0.03, PARTS.index("head"), skull, outfit.skin, "face"))
    return pieces


class Canvas:
    """An image under construction, with the owner and the body part of every pixel."""

    def __init__(self, image: Array) -> None:
        self.image = image
        self.owner = np.zeros(image.shape[:2], np.uint8)
        self.parts = np.zeros(image.shape[:2], np.uint8)

    def draw_figure(
        self, number: int, figure: Figure, outfit: Outfit, project: Array, rng: np.random.Generator
    ) -> None:
        """Draw a figure as owner ``number`` (from 1)."""
        light = rng.uniform(-1, 1)
        for piece in figure_pieces(figure, outfit, project):
            if piece.detail == "face":
                self._draw_face(figure, outfit, project)
                continue
            fixed = np.round(piece.outline * 2**SHIFT).astype(np.int32)
            cv2.fillConvexPoly(self.image, fixed, piece.color, cv2.LINE_AA, SHIFT)
            if piece.detail == "torso":
                self._draw_cloth(figure, outfit, piece, project)
            cv2.polylines(self.image, [fixed], True, _shade(piece.color, 0.62), 1, cv2.LINE_AA, SHIFT)
            self._draw_light(piece, light)
            cv2.fillConvexPoly(self.owner, fixed, number, cv2.LINE_8, SHIFT)
            cv2.fillConvexPoly(self.parts, fixed, piece.part, cv2.LINE_8, SHIFT)

    def _draw_light(self, piece: Piece, light: float) -> None:
        """A brighter stripe along a limb's lit side."""
        if piece.detail != "limb" or len(piece.outline) != 16:
            return
        start, end = piece.outline[:8].mean(0), piece.outline[8:].mean(0)
        side = (piece.outline[0] - piece.outline[7]) * 0.25 * light
        a, b = (np.round((p + side) * 2**SHIFT).astype(int) for p in (start, end))
        thickness = max(1, int(np.hypot(*(piece.outline[0] - piece.outline[7])) * 0.3))
        cv2.line(self.image, a.tolist(), b.tolist(), _shade(piece.color, 1.16), thickness, cv2.LINE_AA, SHIFT)

    def _draw_cloth(self, figure: Figure, outfit: Outfit, piece: Piece, project: Array) -> None:
        """The shirt's pattern in the trunk's own coordinates, and the badge on the chest seen from the front."""
        scale, origin = float(project[0]), project[1:]
        flat = {name: point[:2] * scale + origin for name, point in figure.points.items()}
        low = np.maximum(np.floor(piece.outline.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(piece.outline.max(0)).astype(int) + 1, self.image.shape[1::-1])
        if (high <= low).any():
            return
        region = self.image[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(region.shape[:2], np.uint8)
        cv2.fillConvexPoly(mask, np.round((piece.outline - low) * 2**SHIFT).astype(np.int32), 255, cv2.LINE_8, SHIFT)
        if outfit.pattern != "plain":
            down = flat["pelvis"] - flat["thorax"]
            down = down / (np.hypot(*down) + 1e-6)
            y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
            x, y = x - flat["thorax"][0], y - flat["thorax"][1]
            v, u = (x * down[0] + y * down[1]) / (0.085 * scale), (x * down[1] - y * down[0]) / (0.085 * scale)
            on = {
                "stripes": u % 1 < 0.45,
                "hoops": v % 1 < 0.45,
                "checks": (np.floor(u) + np.floor(v)) % 2 < 1,
                "dots": (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.07,
            }[outfit.pattern]
            region[on & (mask > 0)] = outfit.accent
        toward = np.cross(
            figure.points["left_shoulder"] - figure.points["right_shoulder"],
            figure.points["pelvis"] - figure.points["thorax"],
        )
        if toward[2] > 0.02:
            chest = (
                0.72 * flat["thorax"]
                + 0.28 * flat["pelvis"]
                + toward[:2] / (np.linalg.norm(toward) + 1e-6) * 0.09 * scale
            )
            badge = _capsule(
                chest,
                chest + (flat["pelvis"] - flat["thorax"]) * 0.14,
                0.05 * scale * min(1.0, toward[2] * 6),
                0.02 * scale,
            )
            cv2.fillConvexPoly(
                self.image, np.round(badge * 2**SHIFT).astype(np.int32), outfit.badge, cv2.LINE_AA, SHIFT
            )

    def _draw_face(self, figure: Figure, outfit: Outfit, project: Array) -> None:
        scale, origin = float(project[0]), project[1:]
        head = figure.points["head"]

        def spot(name: str, radius: float, color: Color, limit: float) -> None:
            point = figure.points[name]
            if point[2] - head[2] < limit * 0.125:
                return
            at = np.round((point[:2] * scale + origin) * 2**SHIFT).astype(int).tolist()
            cv2.circle(self.image, at, max(int(radius * scale * 2**SHIFT), 2**SHIFT), color, -1, cv2.LINE_AA, SHIFT)

        for side in ("left", "right"):
            spot(f"{side}_ear", 0.026, _shade(outfit.skin, 0.8), -0.35)
        for side in ("left", "right"):
            spot(f"{side}_eye", 0.023, (250, 250, 250), 0.1)
            spot(f"{side}_eye", 0.012, (25, 20, 20), 0.1)
        spot("nose", 0.018, _shade(outfit.skin, 0.74), 0.0)
