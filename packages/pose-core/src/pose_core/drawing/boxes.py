"""People's boxes, drawn into an image."""

from __future__ import annotations

import cv2
import numpy as np

Array = np.ndarray

GREEN = (0, 200, 0)


def draw_boxes(image: Array, boxes: Array) -> None:
    """Draw boxes ``(N, 4)`` x, y, w, h into an RGB image ``(H, W, 3)``, with lines scaled to the image's size."""
    width = max(round(max(image.shape[:2]) / 400), 1)
    for x, y, w, h in np.asarray(boxes, np.float64).clip(-1e6, 1e6).tolist():
        cv2.rectangle(image, (round(x), round(y)), (round(x + w), round(y + h)), GREEN, width, cv2.LINE_AA)
