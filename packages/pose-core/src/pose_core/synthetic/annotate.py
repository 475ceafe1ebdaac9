"""Annotations of one synthetic person: joints with visibility, boxes, and a mask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pose_core.skeleton import SKELETONS
from pose_core.synthetic.figure import HEAD_DEPTH, HEAD_WIDTH, INDEX, Box, Figure
from pose_core.synthetic.paint import PART, Canvas

Array = np.ndarray
Size = tuple[int, int]

MIN_PIXELS = 60
"""The minimum number of visible pixels of an annotated person."""
_JOINT_NAMES = {"head": "head_top"}


@dataclass(frozen=True)
class DrawnPerson:
    """The annotations of one drawn person.

    ``landmarks`` is ``(L, 3)``: x, y and COCO's visibility in the order of ``figure.LANDMARKS``; coordinates outside
    the image are kept, with visibility 0. ``mask`` is the visible part within the pixel rows and columns ``window``.
    ``extent`` is the box of the whole body, hidden and cut parts included.
    """

    landmarks: Array
    window: tuple[slice, slice]
    mask: Array
    image_size: Size
    extent: Box
    head_box: Box

    def joints(self, skeleton: str) -> Array:
        """Return joints ``(K, 3)`` float32 of a built-in joint set; zero if not labeled."""
        rows = [INDEX[_JOINT_NAMES.get(name, name)] for name in SKELETONS[skeleton].joints]
        chosen = self.landmarks[rows]
        return np.where(chosen[:, 2:] > 0, chosen, 0).astype(np.float32)

    @property
    def full_mask(self) -> Array:
        """Return the mask in the whole image, ``(H, W)`` bool."""
        full = np.zeros(self.image_size[::-1], bool)
        full[self.window] = self.mask
        return full

    @cached_property
    def area(self) -> float:
        """The number of visible pixels."""
        return float(np.count_nonzero(self.mask))

    @property
    def box(self) -> Box:
        """The tight box x, y, w, h around the visible pixels."""
        rows, columns = self.window
        return (
            float(columns.start),
            float(rows.start),
            float(columns.stop - columns.start),
            float(rows.stop - rows.start),
        )


_OWN_PARTS = {
    "shoulder": ("torso", "upper_arm"), "elbow": ("upper_arm", "forearm"), "wrist": ("forearm", "hand"),
    "hand": ("hand",), "hip": ("torso", "thigh"), "knee": ("thigh", "shin"), "ankle": ("shin", "foot"),
    "heel": ("foot",), "toe": ("foot",),
}  # fmt: skip
"""The body parts on which a joint is visible; any other part in front of it hides it."""
_HEAD_PARTS = {PART["head"], PART["hair"]}


def annotate(canvas: Canvas, figure: Figure, number: int) -> DrawnPerson | None:
    """Annotate a drawn figure; return None if it has fewer than `MIN_PIXELS` visible pixels."""
    height, width = canvas.owner.shape
    x, y, w, h = figure.extent
    margin = 0.2 * figure.unit  # long hair, skirts and backpacks extend beyond the landmarks
    window = canvas.window(np.array([x, y]) - margin, np.array([x + w, y + h]) + margin)
    if window is None:
        return None
    mask = canvas.owner[window] == number
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows) or np.count_nonzero(mask) < MIN_PIXELS:
        return None
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = window[0].start + int(rows[0]), window[1].start + int(columns[0])
    tight = (slice(top, top + mask.shape[0]), slice(left, left + mask.shape[1]))
    landmarks = np.concatenate([figure.points[:, :2], np.zeros((len(INDEX), 1))], 1)
    for name, row in INDEX.items():
        landmarks[row, 2] = _visibility(canvas, figure, number, name)
    return DrawnPerson(landmarks, tight, mask, (width, height), (x, y, w, h), _head_box(figure))


def _visibility(canvas: Canvas, figure: Figure, number: int, name: str) -> int:
    """Return a joint's visibility: 0 outside the image or not inferable, 1 hidden, 2 visible."""
    point = figure[name]
    height, width = canvas.owner.shape
    x, y = int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))
    if not (0 <= x < width and 0 <= y < height):
        return 0
    side, _, joint = name.rpartition("_")
    near = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
    parts = canvas.part[near][canvas.owner[near] == number]
    if joint in _OWN_PARTS:
        own = {PART[part if part == "torso" else f"{side}_{part}"] for part in _OWN_PARTS[joint]}
        # On the torso, the joint of the far side is behind it.
        if joint in {"shoulder", "hip"} and _behind(figure, point, joint):
            own.discard(PART["torso"])
        return 2 if own.intersection(parts.tolist()) else 1
    if name in {"pelvis", "thorax", "neck", "upper_neck"}:
        return 2 if len(parts) else 1
    if joint in {"nose", "eye", "ear"} and _on_far_side(figure, name):
        return 0  # behind the head itself: annotators skip these
    return 2 if _HEAD_PARTS.intersection(parts.tolist()) else 1


def _behind(figure: Figure, point: Array, joint: str) -> bool:
    middle = figure["thorax" if joint == "shoulder" else "pelvis"]
    return float(point[2] - middle[2]) < -0.045 * figure.unit


def _on_far_side(figure: Figure, name: str) -> bool:
    """Return whether the head itself hides a point of the face."""
    outward = figure[name] - figure["head_center"]
    limit = -0.3 if name.endswith("ear") else 0.0
    return float(outward[2] / max(np.linalg.norm(outward), 1e-6)) < limit


def _head_box(figure: Figure) -> Box:
    """Return MPII's head box x, y, w, h: around the head's ellipsoid."""
    half = figure.build.head / 2 * figure.unit
    center = figure["head_center"][:2]
    reach = half * np.sqrt(((figure.head_frame * [[HEAD_WIDTH], [1.0], [HEAD_DEPTH]])[:, :2] ** 2).sum(0))
    low, size = center - reach, 2 * reach
    return float(low[0]), float(low[1]), float(size[0]), float(size[1])
