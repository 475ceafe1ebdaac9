"""People's ids across the frames of a video, by the similarity of their poses.

Every track predicts where its person is by a constant velocity. Tracks and poses are paired so that the sum of their
similarities is largest (the Hungarian algorithm). The similarity is OKS over the joints that both have, or the
overlap of their enlarged boxes where these are fewer than three. What stays alone is paired by overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pose_core.geometry import box_overlap
from pose_core.structures import Poses

Array = np.ndarray

CLEAR = 0.2
"""Score from which a joint counts as seen."""
FEW = 3
"""With fewer common joints than this, boxes are compared."""
MIN_SIMILARITY = 0.2
MIN_OVERLAP = 0.3
MARGIN = 0.3
"""Boxes are enlarged by this part of their size at each side, so that people overlap who move far between frames."""
STEADY = 0.25
"""Seconds over which velocities are averaged."""


@dataclass
class _Track:
    """A person's last pose ``(K, 2)`` with scores ``(K,)`` and box x0, y0, x1, y1; the velocity ``(2,)`` per second."""

    number: int
    points: Array
    scores: Array
    box: Array
    velocity: Array
    seen: float
    age: float = 0.0
    missed: int = 0

    def shift(self, time: float, use_velocity: bool) -> Array:
        """Return how far the person has moved by ``time``, as far as one knows."""
        return self.velocity * (time - self.seen) if use_velocity else np.zeros(2)


class Tracker:
    """Gives the people of a video ids from 1, frame by frame.

    A track ends when its person was not found for more than ``max_gap`` seconds and more than one frame.
    """

    def __init__(self, *, max_gap: float = 1.0, velocity: bool = True) -> None:
        self.max_gap = max_gap
        self.velocity = velocity
        self.tracks: list[_Track] = []
        self.born = 0

    def update(self, poses: Poses, time: float) -> Poses:
        """Return the poses of the next frame, at ``time`` in seconds, with ``track_ids``."""
        self.tracks = [each for each in self.tracks if each.missed <= 1 or time - each.seen <= self.max_gap]
        boxes = _boxes(poses)
        pairs = self._pair(poses, boxes, time)
        for track in self.tracks:
            track.missed += 1
        ids = np.zeros(len(poses), np.int64)
        for row in range(len(poses)):
            points, scores = np.asarray(poses.keypoints[row], np.float64), np.asarray(poses.scores[row], np.float64)
            if row in pairs:
                _move(pairs[row], points, scores, boxes[row], time)
                ids[row] = pairs[row].number
            else:
                self.born += 1
                self.tracks.append(_Track(self.born, points, scores, boxes[row], np.zeros(2), time))
                ids[row] = self.born
        return replace(poses, track_ids=ids)

    def _pair(self, poses: Poses, boxes: Array, time: float) -> dict[int, _Track]:
        """Return the track of each row of ``poses`` that has one."""
        if not self.tracks or not len(poses):
            return {}
        shifts = np.array([track.shift(time, self.velocity) for track in self.tracks])
        expected = np.array([track.points for track in self.tracks]) + shifts[:, None]
        around = np.array([track.box for track in self.tracks]) + np.tile(shifts, 2)
        seen = np.array([track.scores for track in self.tracks])
        overlap = box_overlap(_enlarged(around)[:, None], _enlarged(boxes)[None])
        similarity = _similarity(expected, seen, around, poses, boxes, overlap)
        pairs: dict[int, _Track] = {}
        for values, least in ((similarity, MIN_SIMILARITY), (overlap, MIN_OVERLAP)):
            taken = {track.number for track in pairs.values()}
            rows = [row for row in range(len(poses)) if row not in pairs]
            free = [index for index, track in enumerate(self.tracks) if track.number not in taken]
            for index, row in _assign(values[np.ix_(free, rows)], least):
                pairs[rows[row]] = self.tracks[free[index]]
        return pairs


def _move(track: _Track, points: Array, scores: Array, box: Array, time: float) -> None:
    """Give a track its person's next pose."""
    elapsed = time - track.seen
    common = (scores >= CLEAR) & (track.scores >= CLEAR)
    if common.any():
        moved = np.median(points[common] - track.points[common], axis=0)
    else:
        moved = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2
    if elapsed > 0:  # damaged files repeat times
        # An average over all frames at first, then over the last ones.
        track.age += elapsed
        weight = elapsed / min(track.age, STEADY + elapsed)
        track.velocity = track.velocity + weight * (moved / elapsed - track.velocity)
    track.points, track.scores, track.box, track.seen, track.missed = points, scores, box, time, 0


def _boxes(poses: Poses) -> Array:
    """Return boxes x0, y0, x1, y1 ``(N, 4)``: those of the poses, or around their clear joints (all, if none is).

    Joints on a line, or a single one, have a box too.
    """
    if poses.boxes is not None:
        corners = np.asarray(poses.boxes, np.float64).reshape(-1, 4)
        return np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1)
    points, clear = np.asarray(poses.keypoints, np.float64), poses.scores >= CLEAR
    clear = clear | ~clear.any(1, keepdims=True)
    low = np.where(clear[..., None], points, np.inf).min(1)
    high = np.where(clear[..., None], points, -np.inf).max(1)
    half = (high - low) / 2
    half = np.maximum(half, np.maximum(half.max(1, keepdims=True) / 4, 8))
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], 1)


def _enlarged(boxes: Array) -> Array:
    """Return boxes x0, y0, x1, y1 with a margin, as x, y, w, h."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] - MARGIN * sides, (1 + 2 * MARGIN) * sides], 1)


def _similarity(expected: Array, seen: Array, around: Array, poses: Poses, boxes: Array, overlap: Array) -> Array:
    """Return the similarity ``(tracks, N)`` of tracks' expected poses and poses: OKS, or overlap for few joints."""
    scores = np.asarray(poses.scores, np.float64)
    common = (seen >= CLEAR)[:, None] & (scores >= CLEAR)[None]
    weights = np.where(common, np.sqrt(seen.clip(0)[:, None] * scores.clip(0)[None]), 0)
    squares = ((expected[:, None] - np.asarray(poses.keypoints, np.float64)[None]) ** 2).sum(-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (around, boxes)]
    area = np.maximum((areas[0][:, None] + areas[1][None]) / 2, 1)
    sigmas = np.asarray(poses.skeleton.sigmas)
    oks = np.exp(-squares / (2 * (2 * sigmas) ** 2 * area[..., None]))
    similarity = (oks * weights).sum(-1) / np.maximum(weights.sum(-1), 1e-9)
    return np.where(common.sum(-1) >= FEW, similarity, overlap)


def _assign(values: Array, least: float) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with the largest sum of values, each at least ``least``."""
    from scipy.optimize import linear_sum_assignment

    useful = np.where(values >= least, values, 0)
    return [(i, j) for i, j in zip(*linear_sum_assignment(-useful), strict=True) if values[i, j] >= least]
