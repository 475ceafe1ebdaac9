"""Annotated people and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Person:
    """One annotated (or detected) person, in pixels of the original image, 0-based.

    ``joints`` is ``(K, 3)`` float32: x, y, and COCO's visibility (0 not labeled, 1 labeled but hidden, 2 visible).
    ``box`` is ``(x, y, w, h)``, clipped to the image; ``stated_box`` is the box in the file. Layouts that annotate a
    center and a scale instead of a box (MPII, LSP) set ``center`` ``(2,)`` and ``scale`` ``(2,)``, the latter in units
    of 200 pixels with the layout's padding included. ``category_id`` is COCO's; result entries carry it.
    """

    joints: Array
    annotation_id: int
    box: tuple[float, float, float, float] | None = None
    area: float = 0.0
    center: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    head_box: tuple[float, float, float, float] | None = None
    is_crowd: bool = False
    score: float = 1.0
    stated_box: tuple[float, float, float, float] | None = None
    category_id: int = 1

    @property
    def num_labeled(self) -> int:
        """The number of labeled joints."""
        return int((self.joints[:, 2] > 0).sum())


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a data set. ``source`` names its bytes: a path, or ``archive.zip@member``.

    ``width`` and ``height`` are 0 if the annotation file has neither. ``ignore`` holds COCO segmentations (polygons or
    run lengths) of regions that a bottom-up method must not train on: crowds and unlabeled people.
    """

    image_id: int
    source: str
    persons: tuple[Person, ...] = ()
    width: int = 0
    height: int = 0
    ignore: tuple[Any, ...] = ()
    crowd_index: float | None = None
