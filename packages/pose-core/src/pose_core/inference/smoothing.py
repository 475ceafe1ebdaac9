"""Steady keypoints over a video: a One Euro filter for each joint of each track.

Casiez, Roussel, Vogel: "1 € Filter" (CHI 2012). A low-pass filter whose cutoff frequency grows with the speed: slow
joints do not tremble, fast ones do not lag. Here it runs in a frame that moves with the person, so that a steady walk
causes no lag. Speeds are in sizes of the person per second, so that settings do not depend on the resolution; times
are the frames' own, so that they do not depend on the frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pose_core.structures import Poses

Array = np.ndarray

_BODY_CUTOFF = 0.5
_VELOCITY_CUTOFF = 1.0


@dataclass
class _State:
    """A track's filtered joints ``(K, 2)`` at ``time``, and mean scores ``(K,)``.

    ``body`` ``(2,)`` is the velocity of the person, ``velocity`` ``(K, 2)`` that of the joints relative to it.
    """

    points: Array
    body: Array
    velocity: Array
    scores: Array
    time: float


class Smoother:
    """Filters the poses of a video, frame by frame; poses must have ``track_ids``.

    ``min_cutoff`` (Hz) removes the tremble of a person at rest, ``speed`` lets the cutoff grow by so many Hz for each
    size of the person that a joint moves per second. A joint whose score falls below its mean moves less. After
    ``max_gap`` seconds without its person a track starts anew.
    """

    def __init__(self, *, min_cutoff: float = 1.0, speed: float = 10.0, max_gap: float = 0.5) -> None:
        self.min_cutoff, self.speed, self.max_gap = min_cutoff, speed, max_gap
        self.states: dict[int, _State] = {}

    def update(self, poses: Poses, time: float) -> Poses:
        """Return the poses of the next frame, at ``time`` in seconds, with filtered keypoints."""
        if poses.track_ids is None:
            raise ValueError("poses must have track_ids to be smoothed")
        self.states = {number: state for number, state in self.states.items() if time - state.time <= self.max_gap}
        points = np.array(poses.keypoints, np.float64)
        for row, number in enumerate(poses.track_ids.tolist()):
            scores = np.asarray(poses.scores[row], np.float64)
            state = self.states.get(number)
            if state is None:
                self.states[number] = _State(points[row].copy(), np.zeros(2), np.zeros_like(points[row]), scores, time)
            elif time > state.time:
                self._filter(state, points[row], scores, time)
                points[row] = state.points
        return replace(poses, keypoints=points.astype(poses.keypoints.dtype))

    def _filter(self, state: _State, points: Array, scores: Array, time: float) -> None:
        elapsed = time - state.time
        trust = np.clip(scores / np.maximum(state.scores, 1e-6), 0, 1)[:, None]
        size = max(float(np.sqrt(np.ptp(points, axis=0).prod())), 1.0)
        expected = state.points + state.body * elapsed
        away = points - expected
        state.body += _weight(_BODY_CUTOFF, elapsed) * np.median(away, axis=0) / elapsed
        state.velocity += trust * _weight(_VELOCITY_CUTOFF, elapsed) * (away / elapsed - state.velocity)
        cutoff = self.min_cutoff + self.speed * np.linalg.norm(state.velocity, axis=1, keepdims=True) / size
        state.points = expected + trust * _weight(cutoff, elapsed) * away
        state.scores = state.scores + _weight(_VELOCITY_CUTOFF, elapsed) * (scores - state.scores)
        state.time = time


def _weight(cutoff: Array | float, elapsed: float) -> Array:
    """Return the weight of a new value, for cutoff frequencies in Hz: 1 / (1 + 1 / (2π · cutoff · elapsed))."""
    turns = 2 * np.pi * np.asarray(cutoff) * elapsed
    return turns / (1 + turns)
