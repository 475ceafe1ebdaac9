"""Figures: body proportions, joint angles, and their projection to landmarks in the image.

The body is a 3-D skeleton in orthographic projection, so that a turned body, a crossed arm and a hidden ear all result
from one set of angles. Lengths are in units of the standing height. Camera axes: x to the right, y down, z towards the
viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Generator = np.random.Generator
Range = tuple[float, float]
Box = tuple[float, float, float, float]

SIDES = (("left", 1.0), ("right", -1.0))
LANDMARKS = (
    "pelvis", "thorax", "neck", "upper_neck", "head_center", "head_top", "nose",
    "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hand", "right_hand",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_toe", "right_toe",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(LANDMARKS)}
HEAD_WIDTH, HEAD_DEPTH = 0.80, 0.88
"""Half-axes of the head's ellipsoid, in half head heights."""


@dataclass(frozen=True)
class Build:
    """Body proportions, in standing heights; ``girth`` widens limbs and torso."""

    head: float
    neck: float
    torso: float
    thigh: float
    shin: float
    upper_arm: float
    forearm: float
    shoulder: float
    hip: float
    girth: float


@dataclass(frozen=True)
class Figure:
    """A posed body in the image.

    ``points`` is ``(L, 3)``: x, y in pixels and z in pixels towards the viewer, in the order of ``LANDMARKS``.
    The frames are ``(3, 3)`` with the rows left, down, forward of that body part in camera axes.
    """

    points: Array
    pelvis_frame: Array
    torso_frame: Array
    head_frame: Array
    unit: float
    """The standing height in pixels."""
    build: Build
    pose: str

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self.points[INDEX[name]])

    @property
    def extent(self) -> Box:
        """The body's box x, y, w, h: landmarks with a margin for the body around them."""
        margin = 0.03 * self.unit
        low, high = self.points[:, :2].min(0) - margin, self.points[:, :2].max(0) + margin
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


# Degrees. swing: forwards; spread: sideways; elbow: bend; turn: where the bent forearm points (0 forwards, 90 inwards
# for a hanging arm and downwards for a spread one, −90 the opposite); hip: thigh forwards; knee: bend; foot: toes down.
_ARMS: dict[str, Range] = {"swing": (-15, 18), "spread": (5, 20), "elbow": (3, 40), "turn": (-10, 60)}
_LEGS: dict[str, Range] = {"hip": (-5, 9), "splay": (1, 9), "knee": (0, 9), "foot": (0, 10)}
_TORSO: dict[str, Range] = {"lean": (-4, 8), "tilt": (-5, 5), "stride": (0, 0)}
_REST = _ARMS | _LEGS | _TORSO

POSES: dict[str, tuple[float, dict[str, Range]]] = {
    "stand": (3.5, {}),
    "walk": (3.0, {"stride": (14, 30), "elbow": (8, 50), "knee": (2, 14), "turn": (-10, 25)}),
    "run": (1.0, {"stride": (32, 50), "elbow": (60, 105), "knee": (10, 60), "lean": (4, 18), "turn": (-5, 35)}),
    "sit": (
        1.3,
        {"hip": (68, 95), "splay": (2, 18), "knee": (65, 100), "swing": (5, 45), "elbow": (15, 80), "lean": (-8, 14)},
    ),
    "cheer": (1.6, {"spread": (100, 165), "elbow": (5, 70), "turn": (-110, -60), "splay": (2, 16)}),
    "reach": (1.0, {"swing": (50, 165), "elbow": (0, 50), "spread": (0, 25)}),
    "spread": (1.2, {"spread": (45, 105), "elbow": (5, 80), "turn": (-100, 90), "splay": (4, 22)}),
    "akimbo": (0.9, {"spread": (34, 48), "elbow": (75, 105), "turn": (70, 98), "swing": (-12, 4), "splay": (3, 14)}),
    "bend": (0.8, {"lean": (32, 65), "hip": (0, 28), "knee": (3, 35), "swing": (20, 85)}),
    "crouch": (0.8, {"hip": (72, 112), "knee": (88, 130), "lean": (8, 32), "swing": (20, 70), "elbow": (20, 80)}),
    "dance": (
        0.8,
        {
            "spread": (10, 140), "elbow": (10, 110), "turn": (-110, 90), "hip": (-15, 55), "knee": (0, 70),
            "splay": (2, 30), "tilt": (-16, 16),
        },
    ),
}  # fmt: skip


def sample_build(rng: Generator) -> Build:
    """Sample body proportions, from child to adult and from slim to broad."""
    child = rng.random() < 0.2
    head = rng.uniform(0.195, 0.22) if child else rng.uniform(0.165, 0.188)
    neck = 0.028 if child else 0.038
    torso = (0.30 if child else 0.295) * rng.uniform(0.96, 1.04)
    legs = 1 - 0.036 - head - neck - torso
    thigh = legs * rng.uniform(0.495, 0.52)
    arm = rng.uniform(0.31, 0.345)
    return Build(
        head=head,
        neck=neck,
        torso=torso,
        thigh=thigh,
        shin=legs - thigh,
        upper_arm=arm * 0.53,
        forearm=arm * 0.47,
        shoulder=rng.uniform(0.098, 0.118),
        hip=rng.uniform(0.052, 0.062),
        girth=rng.uniform(1.1, 1.5),
    )


def sample_figure(rng: Generator, height: float) -> Figure:
    """Sample a posed body of standing height ``height`` pixels, with the pelvis at the origin."""
    build = sample_build(rng)
    weights = np.array([weight for weight, _ in POSES.values()])
    pose = list(POSES)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    # Most people in photographs face the camera approximately; every other direction occurs too.
    yaw = rng.normal(0, 38) if rng.random() < 0.6 else rng.uniform(-180, 180)
    return pose_figure(rng, build, pose, height, yaw)


def pose_figure(rng: Generator, build: Build, pose: str, height: float, yaw: float) -> Figure:
    """Sample the joint angles of a pose and project the body turned by ``yaw`` degrees (0 faces the camera)."""
    ranges = _REST | POSES[pose][1]

    def angle(name: str) -> float:
        return float(np.deg2rad(rng.uniform(*ranges[name])))

    pelvis = _turned(np.diag([1.0, 1.0, 1.0]), 0, 2, -np.deg2rad(yaw))
    lean = angle("lean")
    torso = _turned(_turned(pelvis, 1, 2, -lean), 1, 0, angle("tilt"))
    torso = _turned(torso, 0, 2, np.deg2rad(rng.normal(0, 7)))
    stride = angle("stride") * rng.choice((-1.0, 1.0))

    points = dict.fromkeys(LANDMARKS, np.zeros(3))
    points["thorax"] = -build.torso * (0.45 * _turned(pelvis, 1, 2, -lean * 0.7)[1] + 0.55 * torso[1])
    points["upper_neck"] = points["thorax"] - build.neck * torso[1] + 0.012 * torso[2]
    points["neck"] = (points["thorax"] + points["upper_neck"]) / 2
    head = _place_head(rng, points, build, torso, lean)
    for side, sign in SIDES:
        _place_arm(points, side, sign, build, torso, angle, -stride * sign * 0.8)
        _place_leg(points, side, sign, build, pelvis, angle, stride * sign)

    camera = _camera(rng)
    frames = (pelvis @ camera.T, torso @ camera.T, head @ camera.T)
    placed = np.array([points[name] for name in LANDMARKS]) @ camera.T * height
    return Figure(placed, *frames, height, build, pose)


def _turned(frame: Array, first: int, second: int, angle: float) -> Array:
    """Rotate the axes ``first`` → ``second`` of a frame of row vectors."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned = frame.copy()
    turned[first] = cos * frame[first] + sin * frame[second]
    turned[second] = cos * frame[second] - sin * frame[first]
    return turned


def _camera(rng: Generator) -> Array:
    """Sample a camera rotation: slightly downwards and nearly level, sometimes strongly rotated."""
    pitch = np.deg2rad(rng.uniform(2, 15))
    roll = np.deg2rad(rng.normal(0, 30) if rng.random() < 0.04 else rng.normal(0, 4))
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    turn = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(turn @ tilt)


def _place_head(rng: Generator, points: dict[str, Array], build: Build, torso: Array, lean: float) -> Array:
    """Set the head landmarks; return the head's frame, which compensates for a leaning torso."""
    head = _turned(torso, 1, 2, lean * 0.6 + np.deg2rad(rng.normal(-2, 8)))
    head = _turned(head, 0, 2, np.deg2rad(float(np.clip(rng.normal(0, 22), -55, 55))))
    head = _turned(head, 1, 0, np.deg2rad(rng.normal(0, 6)))
    half = build.head / 2
    center = points["upper_neck"] - half * 0.86 * head[1]
    wide, deep = half * HEAD_WIDTH, half * HEAD_DEPTH
    points["head_center"] = center
    points["head_top"] = center - half * head[1]
    points["nose"] = center + half * 0.16 * head[1] + deep * 1.08 * head[2]
    for side, sign in SIDES:
        points[f"{side}_eye"] = center + sign * wide * 0.40 * head[0] - half * 0.06 * head[1] + deep * 0.9 * head[2]
        points[f"{side}_ear"] = center + sign * wide * 1.0 * head[0] + half * 0.06 * head[1] - deep * 0.06 * head[2]
    return head


def _place_arm(
    points: dict[str, Array],
    side: str,
    sign: float,
    build: Build,
    frame: Array,
    angle: Callable[[str], float],
    stride: float,
) -> None:
    """Set the landmarks from shoulder to hand."""
    shoulder = points["thorax"] + sign * build.shoulder * frame[0] + 0.018 * frame[1]
    upper, forward, inward = _limb_axes(frame, sign, angle("swing") + stride, angle("spread"))
    turn, bend = angle("turn"), angle("elbow")
    lower = np.cos(bend) * upper + np.sin(bend) * (np.cos(turn) * forward + np.sin(turn) * inward)
    elbow = shoulder + build.upper_arm * upper
    wrist = elbow + build.forearm * lower
    points[f"{side}_shoulder"], points[f"{side}_elbow"], points[f"{side}_wrist"] = shoulder, elbow, wrist
    points[f"{side}_hand"] = wrist + 0.062 * lower


def _place_leg(
    points: dict[str, Array],
    side: str,
    sign: float,
    build: Build,
    frame: Array,
    angle: Callable[[str], float],
    stride: float,
) -> None:
    """Set the landmarks from hip to toe. The rear leg of a stride bends its knee more."""
    hip = sign * build.hip * frame[0]
    thigh, forward, _ = _limb_axes(frame, sign, angle("hip") + stride, angle("splay"))
    bend = angle("knee") + max(0.0, -stride) * 1.1
    shin = np.cos(bend) * thigh - np.sin(bend) * forward
    ahead = np.cos(bend) * forward + np.sin(bend) * thigh
    down = angle("foot")
    foot = np.cos(down) * ahead + np.sin(down) * shin + 0.15 * sign * frame[0]
    knee = hip + build.thigh * thigh
    ankle = knee + build.shin * shin
    points[f"{side}_hip"], points[f"{side}_knee"], points[f"{side}_ankle"] = hip, knee, ankle
    points[f"{side}_heel"] = ankle + 0.024 * shin - 0.012 * foot
    points[f"{side}_toe"] = ankle + 0.028 * shin + 0.098 * foot


def _limb_axes(frame: Array, sign: float, swing: float, spread: float) -> tuple[Array, Array, Array]:
    """Return unit vectors along a limb, and forwards and inwards of it."""
    left, down, front = frame
    hanging = np.cos(swing) * down + np.sin(swing) * front
    along = np.cos(spread) * hanging + np.sin(spread) * sign * left
    forward = np.cos(swing) * front - np.sin(swing) * down
    inward = np.sin(spread) * hanging - np.cos(spread) * sign * left
    return along, forward, inward
