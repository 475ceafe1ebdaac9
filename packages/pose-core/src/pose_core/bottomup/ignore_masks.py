"""Regions of an image without a loss: crowds and people without labeled joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from pose_core.errors import DataError

Array = np.ndarray
Ignore = Literal["all", "crowds", "none"]


def chosen_regions(regions: Sequence[Any], ignore: Ignore) -> list[Any]:
    """Return the segmentations to ignore; COCO stores crowds as run lengths and people as polygons."""
    if ignore == "none":
        return []
    return [region for region in regions if ignore == "all" or isinstance(region, dict)]


def keep_mask(regions: Sequence[Any], width: int, height: int, source: str) -> Array:
    """Return a mask ``(H, W)`` uint8: 0 within an image's ``regions`` (COCO segmentations), 255 elsewhere."""
    keep = np.full((height, width), 255, np.uint8)
    for region in regions:
        try:
            if isinstance(region, dict):
                runs = coco_mask.frPyObjects(region, *region["size"]) if isinstance(region["counts"], list) else region
            else:
                runs = coco_mask.merge(coco_mask.frPyObjects(region, height, width))
            inside = coco_mask.decode(runs)
        except Exception as error:  # pycocotools raises bare ones
            raise DataError(
                f"image {source}: a segmentation is neither COCO polygons nor run lengths: {error}"
            ) from None
        if inside.shape != (height, width):  # an image that was stored smaller than it was annotated
            inside = cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST)
        keep[inside > 0] = 0
    return keep
