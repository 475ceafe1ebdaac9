"""People's ids, written above their poses."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

Array = np.ndarray


def draw_track_ids(image: Array, keypoints: Array, scores: Array, track_ids: Array, threshold: float = 0.2) -> None:
    """Write ids ``(N,)`` into an RGB image, above the joints ``(N, K, 2)`` that score at least ``threshold``."""
    height, width = image.shape[:2]
    for number, points, values in zip(track_ids.tolist(), keypoints, scores, strict=True):
        shown = points[(values >= threshold) & np.isfinite(points).all(1)]
        if not len(shown):
            continue
        size = float(np.clip(np.ptp(shown, axis=0).max() / 250, 0.4, 1.2))
        thick = 1 if size < 0.8 else 2
        text = str(number)
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        pad = 3
        x = int(np.clip(shown[:, 0].mean() - wide / 2, pad, max(width - wide - pad, pad)))
        y = int(np.clip(shown[:, 1].min() - 12 * size - pad, high + pad, height - below - pad))
        cv2.rectangle(image, (x - pad, y - high - pad), (x + wide + pad, y + pad), color_of(number), -1)
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick, cv2.LINE_AA)


def color_of(number: int) -> tuple[int, int, int]:
    """Return an RGB color; those of consecutive numbers are far apart."""
    red, green, blue = colorsys.hls_to_rgb((number * 0.618) % 1, 0.38, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)
