"""Skeletons drawn over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from pose_core.errors import ConfigError
from pose_core.skeleton import Color, Skeleton

Array = np.ndarray


class Palette(NamedTuple):
    """The RGB colors of a skeleton's joints and of its limbs, in order."""

    joints: Sequence[Color]
    limbs: Sequence[Color]


_PINK = (240, 2, 127)
_YELLOW, _GREEN, _LILAC, _BLUE = (255, 255, 0), (169, 209, 142), (252, 176, 243), (0, 176, 240)
_CHUNHUA = Palette(
    [_PINK] * 5 + [_YELLOW, _GREEN] * 3 + [_LILAC, _BLUE] * 3,
    [_LILAC] * 3 + [_BLUE] * 3 + [_PINK] * 5 + [_YELLOW] * 2 + [_GREEN] * 3 + [(45, 189, 54)],
)
_TORSO = (255, 255, 51)
_LEFT_ARM, _RIGHT_ARM = [(254, 153, 41), (217, 95, 14)], [(44, 127, 184), (0, 0, 255)]
_LEFT_LEG, _RIGHT_LEG = [(179, 0, 0), (228, 26, 28)], [(49, 163, 84), (0, 109, 45)]
_XIAOCHU = Palette(
    [
        *[_PINK] * 5, _TORSO, _TORSO, _LEFT_ARM[0], _RIGHT_ARM[0], _LEFT_ARM[1], _RIGHT_ARM[1], _TORSO, _TORSO,
        _LEFT_LEG[1], _RIGHT_LEG[0], _LILAC, _BLUE,
    ],
    [*_LEFT_LEG, _TORSO, *_RIGHT_LEG, _TORSO, *[_PINK] * 5, *_LEFT_ARM[::-1], _TORSO, *_RIGHT_ARM, _TORSO],
)  # fmt: skip
STYLES: dict[str, Palette] = {"chunhua": _CHUNHUA, "xiaochu": _XIAOCHU}
"""The published RGB colors of the COCO joints and limbs."""

OUTLINE = (20, 20, 20)
HIDDEN = (255, 255, 255)
FACE = {"nose", "eye", "ear"}
"""The joints of the face, drawn smaller so that they do not cover it."""
SHIFT = 4


def palette(skeleton: Skeleton, style: str = "side") -> Palette:
    """Return colors by body side, or of one of the published styles (COCO joints only)."""
    if style == "side":
        joints = [skeleton.joint_color(joint) for joint in range(skeleton.num_joints)]
        return Palette(joints, [skeleton.limb_color(limb) for limb in skeleton.limbs])
    if style not in STYLES:
        raise ConfigError(f"drawing style {style!r} does not exist; choose side, {', '.join(STYLES)}")
    if skeleton.name != "coco17":
        raise ConfigError(f"drawing style {style!r} is for the 17 COCO joints, not for {skeleton.name}")
    return STYLES[style]


def draw_poses(
    image: Array, keypoints: Array, scores: Array, skeleton: Skeleton, threshold: float = 0.2, style: str = "side"
) -> Array:
    """Return a copy of an RGB ``image`` ``(H, W, 3)`` with poses: joints that score at least ``threshold``, and limbs.

    ``keypoints`` ``(N, K, 2)`` are in the image's pixels, ``scores`` ``(N, K)``.
    """
    canvas = np.ascontiguousarray(image.copy())
    colors = palette(skeleton, style)
    for points, values in zip(keypoints, scores, strict=True):
        draw_skeleton(canvas, points, values >= threshold, skeleton, colors)
    return canvas


def draw_skeleton(
    image: Array,
    points: Array,
    shown: Array,
    skeleton: Skeleton,
    colors: Palette,
    hidden: Array | None = None,
) -> None:
    """Draw one pose into ``image`` with lines scaled to the person's size; skip points that are not finite."""
    shown = shown & np.isfinite(points).all(1)
    if not shown.any():
        return
    extent = np.ptp(points[shown], axis=0).max()
    width = int(np.clip(round(extent / 60), 1, 8))
    fixed = np.round(np.where(shown[:, None], points, 0) * 2**SHIFT).astype(np.int64)
    fixed = fixed.clip(-(2**28), 2**28)
    fine = [name.split("_")[-1] in FACE for name in skeleton.joints]
    lines = []
    for (a, b), color in zip(skeleton.limbs, colors.limbs, strict=True):
        if shown[a] and shown[b]:
            thick = max(width // 2, 1) if fine[a] and fine[b] else width
            lines.append((fixed[a].tolist(), fixed[b].tolist(), color, thick))
    for start, end, _, thick in lines:
        cv2.line(image, start, end, OUTLINE, thick + 2, cv2.LINE_AA, SHIFT)
    for start, end, color, thick in lines:
        cv2.line(image, start, end, color, thick, cv2.LINE_AA, SHIFT)
    for joint in np.flatnonzero(shown).tolist():
        at, radius = fixed[joint].tolist(), (0.55 * width + 0.8 if fine[joint] else 0.9 * width + 1) * 2**SHIFT
        cv2.circle(image, at, round(radius + 2**SHIFT), OUTLINE, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(image, at, round(radius), colors.joints[joint], -1, cv2.LINE_AA, SHIFT)
        if hidden is not None and hidden[joint]:
            cv2.circle(image, at, round(radius * 0.6), HIDDEN, -1, cv2.LINE_AA, SHIFT)
