"""What a person is to the two systems: joints, a centre, and an area that weighs the offsets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose_core.structures import Person

Array = np.ndarray
SMALL = 32.0**2
"""COCO's people of a smaller area have no centre, and so are not regressed."""


def describe_bottomup(person: Person, *, drop_small: bool) -> tuple[Array, float]:
    """Rows ``(K+1, 3)`` with the centre last, and the box's area.

    The centre is the labelled joints' mean; without any, the box's.
    """
    box = person.stated_box or person.box or (0.0, 0.0, 0.0, 0.0)
    labelled = person.joints[person.joints[:, 2] > 0, :2]
    x, y = labelled.mean(0) if len(labelled) else (box[0] + box[2] / 2, box[1] + box[3] / 2)
    return _with_centre(person, (float(x), float(y), _sees(person, drop_small=drop_small))), box[2] * box[3]


def describe_dekr(person: Person, *, drop_small: bool, published_area: bool = False) -> tuple[Array, float]:
    """Rows ``(K+1, 3)`` with the centre last, and the square of the joints' extent.

    Nobody without labelled joints has a centre. The published code gave them one in the image's corner, and it took
    that corner into everyone's extent: ``published_area``. The extent is at least the box's area, for people of whom
    a joint or two are labelled.
    """
    labelled = person.joints[person.joints[:, 2] > 0, :2]
    if not len(labelled):
        return _with_centre(person, (0.0, 0.0, 0.0)), 1.0
    x, y = labelled.mean(0)
    rows = _with_centre(person, (float(x), float(y), _sees(person, drop_small=drop_small)))
    if published_area:
        everything = np.where(person.joints[:, 2:] > 0, person.joints[:, :2], 0)
        extent = np.maximum(everything.max(0), 0) - np.minimum(everything.min(0), 0)
        return rows, max(float(np.square(extent).sum()), 1.0)
    box = person.stated_box or person.box or (0.0, 0.0, 0.0, 0.0)
    return rows, max(float(np.square(np.ptp(labelled, axis=0)).sum()), box[2] * box[3], 1.0)


def _sees(person: Person, *, drop_small: bool) -> float:
    return 0.0 if drop_small and person.area < SMALL else 1.0


def _with_centre(person: Person, centre: tuple[float, float, float]) -> Array:
    return np.concatenate([person.joints, np.array([centre], np.float32)]).astype(np.float32)


Describe = Callable[[Person], tuple[Array, float]]
