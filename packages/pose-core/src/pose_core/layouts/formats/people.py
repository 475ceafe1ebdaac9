"""Boxes, areas and ids of people, for formats that need what a record may not state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_core.data.coco_file import AREA_OF_BOX
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.mpii import CENTER_DROP, PADDING
from pose_core.structures import ImageRecord, Person

Array = np.ndarray
Box = tuple[float, float, float, float]

MARGIN = 0.1
"""Margin of a box around joints on each side, as a fraction of the longer side of their extent."""


def exact(value: float) -> float:
    """Return the shortest decimal number that is this one in 32 bits, as an integer where it is one."""
    short = float(str(np.float32(value)))
    return int(short) if short.is_integer() else short


def box_of(person: Person, size: tuple[int, int]) -> Box:
    """Return a person's box x, y, w, h in an image of ``size``: the stated one, or MPII's square, or around its joints.

    MPII's square is undone to the file's own center and scale: without the published drop and padding.
    """
    if person.stated_box is not None:
        return person.stated_box
    if person.box is not None:
        return person.box
    place = center_and_scale(person)
    if place is not None:
        (x, y), scale = place
        side = scale * PIXEL_STD
        return x - side / 2, y - side / 2, side, side
    return box_around(person.joints, size)


def center_and_scale(person: Person) -> tuple[tuple[float, float], float] | None:
    """Return the center, 0-based, and the scale that MPII's file states for a person that was read from one."""
    if person.center is None or person.scale is None or person.scale[0] <= 0 or person.center[0] == -2:
        return None
    scale = person.scale[0] / PADDING
    return (person.center[0], person.center[1] - CENTER_DROP * scale), scale


def box_around(joints: Array, size: tuple[int, int]) -> Box:
    """Return a box around the labeled joints of ``(K, 3)``, with a `MARGIN`, clipped to an image of ``size``."""
    points = joints[joints[:, 2] > 0, :2].astype(np.float64)
    if not len(points):
        return 0.0, 0.0, 0.0, 0.0
    low, high = points.min(0), points.max(0)
    margin = max(MARGIN * float((high - low).max()), 1.0)
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, np.maximum(size, high + 1))
    left, top = low.tolist()
    width, height = (high - low).tolist()
    return left, top, width, height


def area_of(person: Person, box: Box) -> float:
    """Return a person's area, or the usual fraction of its box's if it has none."""
    return person.area if person.area > 0 else AREA_OF_BOX * box[2] * box[3]


def unique_ids(records: Sequence[ImageRecord]) -> list[int]:
    """Return an id for every person in order: their own ids if these are positive and differ, else 1, 2, 3, …"""
    ids = [person.annotation_id for record in records for person in record.persons]
    # pycocotools takes an annotation with the id 0 for none.
    return ids if len(set(ids)) == len(ids) and min(ids, default=1) > 0 else list(range(1, len(ids) + 1))
