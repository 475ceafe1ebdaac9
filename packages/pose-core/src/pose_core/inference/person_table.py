"""Tables with a row for each person: the columns of predict's CSV files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pose_core.skeleton import Skeleton
from pose_core.structures import Poses

NAME = "poses.csv"
"""The name of the table of all images."""


def person_columns(about: Sequence[str], skeleton: Skeleton) -> list[str]:
    """Return the header: columns ``about`` the image or frame, then those of a person."""
    box = [f"box_{name}" for name in ("x", "y", "width", "height")]
    joints = [f"{joint}_{name}" for joint in skeleton.joints for name in ("x", "y", "score")]
    return [*about, "pose_score", *box, *joints]


def person_values(poses: Poses) -> Iterator[list[object]]:
    """Yield the values of each person's columns; what is unknown stays empty."""
    for row in range(len(poses)):
        box = [""] * 4 if poses.boxes is None else [round(value, 2) for value in poses.boxes[row].tolist()]
        joints = np.concatenate([poses.keypoints[row].round(2), poses.scores[row][:, None].round(4)], 1)
        score = round(float(poses.pose_scores[row]), 5)
        yield [score, *box, *(f"{value:g}" for value in joints.ravel().tolist())]
