"""Heatmaps drawn over images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pose_core.drawing.sheets import contact_sheet

Array = np.ndarray


def heatmap_overlay(image: Array, heatmap: Array, *, strength: float = 0.65) -> Array:
    """Draw ``heatmap`` ``(h, w)`` in colors over a copy of ``image`` ``(H, W, 3)`` RGB; zeros are transparent."""
    height, width = image.shape[:2]
    large = cv2.resize(heatmap.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    share = (large / max(float(large.max()), 1e-6)).clip(0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    weight = (share * strength)[..., None]
    return (image * (1 - weight) + colors * weight).astype(np.uint8)


def heatmap_sheet(image: Array, heatmaps: Array, names: Sequence[str], *, columns: int = 6) -> Array:
    """Return a contact sheet with one tile per joint: ``heatmaps`` ``(K, h, w)`` over ``image``."""
    tiles = [heatmap_overlay(image, heatmap) for heatmap in heatmaps]
    captions = [f"{name} {heatmap.max():.2f}" for name, heatmap in zip(names, heatmaps, strict=True)]
    height, width = image.shape[:2]
    return contact_sheet(tiles, captions, columns=columns, tile=(160, round(160 * height / width)))
