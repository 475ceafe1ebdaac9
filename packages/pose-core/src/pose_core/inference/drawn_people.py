"""People drawn into an image or a frame: poses, boxes on request, and the ids of tracked people."""

from __future__ import annotations

import numpy as np

from pose_core.drawing.boxes import draw_boxes
from pose_core.drawing.track_ids import draw_track_ids
from pose_core.structures import Poses

Array = np.ndarray


def draw_people(image: Array, poses: Poses, threshold: float, style: str, *, boxes: bool = False) -> Array:
    """Return a copy of an image ``(H, W, 3)`` RGB with joints that score at least ``threshold``, and limbs.

    With ``boxes`` people's boxes are drawn, too, if they have any. Ids are written above tracked people.
    """
    drawn = poses.draw(image, threshold, style)
    if boxes and poses.boxes is not None:
        draw_boxes(drawn, poses.boxes)
    if poses.track_ids is not None:
        draw_track_ids(drawn, poses.keypoints, poses.scores, poses.track_ids, threshold)
    return drawn
