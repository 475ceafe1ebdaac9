"""Training targets of a person: joints, center, and the area that weights the offsets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pose_core.structures import Person

Array = np.ndarray
SMALL = 32.0**2
"""COCO's people of a smaller area have no center, so that their offsets are not learned."""


def describe_bottomup(person: Person, *, drop_small: bool) -> tuple[Array, float]:
    """Return joints ``(K+1, 3)`` with the center last, and the box's area, as in Bottom-Up.

    The center is the mean of the labeled joints; without any, the box's center.
    """
    box = person.stated_box or person.box or (0.0, 0.0, 0.0, 0.0)
    labeled = person.joints[person.joints[:, 2] > 0, :2]
    x, y = labeled.mean(0) if len(labeled) else (box[0] + box[2] / 2, box[1] + box[3] / 2)
    return _with_center(person, (float(x), float(y), _sees(person, drop_small=drop_small))), box[2] * box[3]


def describe_dekr(person: Person, *, drop_small: bool, published_area: bool = False) -> tuple[Array, float]:
    """Return joints ``(K+1, 3)`` with the center last, and the squared diagonal of the labeled joints, as in DEKR.

    People without labeled joints have no center. The published code puts it in the image's corner, and measures the
    diagonal from there; so does ``published_area``. Otherwise the area is at least the box's, for people with one or
    two labeled joints.
    """
    labeled = person.joints[person.joints[:, 2] > 0, :2]
    if not len(labeled):
        return _with_center(person, (0.0, 0.0, _sees(person, drop_small=drop_small) if published_area else 0.0)), 1.0
    x, y = labeled.mean(0)
    rows = _with_center(person, (float(x), float(y), _sees(person, drop_small=drop_small)))
    if published_area:
        everything = np.where(person.joints[:, 2:] > 0, person.joints[:, :2], 0)
        extent = np.maximum(everything.max(0), 0) - np.minimum(everything.min(0), 0)
        return rows, max(float(np.square(extent).sum()), 1.0)
    box = person.stated_box or person.box or (0.0, 0.0, 0.0, 0.0)
    return rows, max(float(np.square(np.ptp(labeled, axis=0)).sum()), box[2] * box[3], 1.0)


def _sees(person: Person, *, drop_small: bool) -> float:
    return 0.0 if drop_small and person.area < SMALL else 1.0


def _with_center(person: Person, center: tuple[float, float, float]) -> Array:
    return np.concatenate([person.joints, np.array([center], np.float32)]).astype(np.float32)


Describe = Callable[[Person], tuple[Array, float]]
