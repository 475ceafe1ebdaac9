"""Skeletons over images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pose_core.errors import ConfigError
from pose_core.skeleton import Color, Skeleton
from pose_core.structures import Person, Poses

Array = np.ndarray

PINK, YELLOW, GREEN, LILAC, BLUE = (240, 2, 127), (255, 255, 0), (169, 209, 142), (252, 176, 243), (0, 176, 240)
BRIGHT, EARTH, AMBER, TEAL, SEA = (255, 255, 51), (217, 95, 14), (254, 153, 41), (44, 127, 184), (0, 0, 255)
# Published colours of the COCO joints, by body part.
_CHUNHUA = [PINK] * 5 + [YELLOW, GREEN] * 3 + [LILAC, BLUE] * 3
_XIAOCHU = [
    *[PINK] * 5, BRIGHT, BRIGHT, AMBER, TEAL, EARTH, SEA, BRIGHT, BRIGHT, (228, 26, 28), (49, 163, 84), (179, 0, 0),
    (0, 109, 45),
]  # fmt: skip
STYLES: dict[str, list[Color]] = {"chunhua": _CHUNHUA, "xiaochu": _XIAOCHU}
OUTLINE = (20, 20, 20)
SHIFT = 4


def joint_colors(skeleton: Skeleton, style: str = "side") -> list[Color]:
    """RGB per joint: by body side, or one of the published styles (COCO joints only)."""
    if style == "side":
        return [skeleton.joint_color(joint) for joint in range(skeleton.num_joints)]
    if style not in STYLES:
        raise ConfigError(f"drawing style {style!r} does not exist; choose side, {', '.join(STYLES)}")
    if skeleton.num_joints != len(STYLES[style]):
        raise ConfigError(f"drawing style {style!r} is for the 17 COCO joints, not for {skeleton.name}")
    return STYLES[style]


def draw_poses(image: Array, poses: Poses, threshold: float = 0.2, style: str = "side") -> Array:
    """A copy of ``image`` ``(H, W, 3)`` RGB with the joints that score ``threshold`` or more, and their limbs."""
    canvas = np.ascontiguousarray(image.copy())
    colors = joint_colors(poses.skeleton, style)
    for points, scores in zip(poses.keypoints, poses.scores, strict=True):
        draw_skeleton(canvas, points, scores >= threshold, poses.skeleton, colors)
    return canvas


def draw_person(image: Array, person: Person, skeleton: Skeleton, *, box: bool = True) -> None:
    """Draw an annotated person into ``image``: hidden joints hollow, the box thin."""
    labels = person.joints[:, 2]
    if box and person.box is not None:
        x, y, w, h = (round(value) for value in person.box)
        cv2.rectangle(image, (x, y), (x + w, y + h), (255, 255, 255), 1, cv2.LINE_AA)
    draw_skeleton(image, person.joints[:, :2], labels > 0, skeleton, joint_colors(skeleton), hollow=labels == 1)


def draw_skeleton(
    image: Array,
    points: Array,
    shown: Array,
    skeleton: Skeleton,
    colors: Sequence[Color],
    hollow: Array | None = None,
) -> None:
    """Draw one pose into ``image``; thickness follows the person's size. Points that are not finite are left out."""
    shown = shown & np.isfinite(points).all(1)
    if not shown.any():
        return
    extent = np.ptp(points[shown], axis=0).max()
    width = int(np.clip(round(extent / 60), 1, 8))
    fixed = np.round(np.where(shown[:, None], points, 0) * 2**SHIFT).astype(np.int64)
    fixed = fixed.clip(-(2**28), 2**28)
    for limb in skeleton.limbs:
        if shown[limb[0]] and shown[limb[1]]:
            a, b = fixed[limb[0]].tolist(), fixed[limb[1]].tolist()
            cv2.line(image, a, b, OUTLINE, width + 2, cv2.LINE_AA, SHIFT)
    for limb in skeleton.limbs:
        if shown[limb[0]] and shown[limb[1]]:
            a, b = fixed[limb[0]].tolist(), fixed[limb[1]].tolist()
            first, second = colors[limb[0]], colors[limb[1]]
            color = first if first == second else skeleton.limb_color(limb)
            cv2.line(image, a, b, color, width, cv2.LINE_AA, SHIFT)
    radius = int((0.9 * width + 1) * 2**SHIFT)
    for joint in np.flatnonzero(shown).tolist():
        at = fixed[joint].tolist()
        if hollow is not None and hollow[joint]:
            cv2.circle(image, at, radius, colors[joint], max(width // 2, 1), cv2.LINE_AA, SHIFT)
            continue
        cv2.circle(image, at, radius + 2**SHIFT, OUTLINE, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(image, at, radius, colors[joint], -1, cv2.LINE_AA, SHIFT)
