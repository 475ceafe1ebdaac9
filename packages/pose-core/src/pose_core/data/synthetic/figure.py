"""Articulated people: random bodies in random postures, as landmarks in space.

Axes: x to the image's right, y down, z towards the camera. A figure is built standing at the origin, turned to face the
camera at yaw 0 (its left hand at the image's right), with a height of about 1.75 units, and is projected without
perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Figure:
    """Landmarks by name, ``(3,)`` each, and the body's girth."""

    points: dict[str, Array]
    girth: float
    yaw: float
    facing: Array
    """Unit vector out of the face."""


def _rotation(axis: str, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def _limb(start: Array, frame: Array, length: float) -> Array:
    """The end of a limb that hangs along its frame's +y."""
    return start + frame[:, 1] * length


def draw_figure(rng: np.random.Generator) -> Figure:
    """A random body in a random posture: standing, walking, sitting, crouching, reaching, bending."""
    size = rng.normal(1, 0.04, 8).clip(0.88, 1.12)
    torso, shoulder, hip = 0.52 * size[0], 0.185 * size[1], 0.105 * size[2]
    upper_arm, forearm, thigh, shin = 0.29 * size[3], 0.25 * size[4], 0.43 * size[5], 0.42 * size[6]
    head = 0.125 * size[7]
    posture = rng.choice(["stand", "walk", "sit", "crouch", "reach", "bend"], p=[0.3, 0.28, 0.12, 0.08, 0.15, 0.07])
    # Mostly towards the camera, sometimes sideways or away.
    yaw = rng.normal(0, 0.5) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
    root = _rotation("z", rng.normal(0, 0.06)) @ _rotation("y", yaw)
    lean = rng.normal(0, 0.1)
    if posture == "bend":
        lean = rng.uniform(0.4, 1.0)
    elif posture in {"crouch", "sit"}:
        lean = rng.uniform(0, 0.4)
    spine = root @ _rotation("x", -lean) @ _rotation("z", rng.normal(0, 0.12)) @ _rotation("y", rng.normal(0, 0.25))

    points: dict[str, Array] = {"pelvis": np.zeros(3)}
    points["thorax"] = -spine[:, 1] * torso
    points["neck"] = points["thorax"] - spine[:, 1] * 0.06
    skull = (
        spine
        @ _rotation("y", rng.normal(0, 0.35))
        @ _rotation("x", rng.normal(0.05, 0.2))
        @ _rotation("z", rng.normal(0, 0.12))
    )
    center = points["neck"] - skull[:, 1] * (0.045 + head)
    points["head"] = center
    points["head_top"] = center - skull[:, 1] * head * 1.12
    for side, sign in (("left", 1.0), ("right", -1.0)):
        points[f"{side}_shoulder"] = points["thorax"] + spine[:, 0] * sign * shoulder - spine[:, 1] * -0.02
        points[f"{side}_hip"] = root[:, 0] * sign * hip
        for name, azimuth, elevation in (("eye", 0.42, 0.12), ("ear", 1.5, 0.02)):
            out = np.array(
                [np.sin(sign * azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
            )
            points[f"{side}_{name}"] = center + skull @ out * head * 0.92
        _draw_arm(rng, points, spine, side, sign, upper_arm, forearm, str(posture))
        _draw_leg(rng, points, root, side, sign, thigh, shin, str(posture))
    points["nose"] = center + skull @ np.array([0, 0.1, 1.0]) * head
    points["chin"] = center + skull @ np.array([0, 0.95, 0.35]) * head
    return Figure(points, float(np.clip(rng.normal(1, 0.12), 0.75, 1.3)), float(yaw), skull[:, 2])


def _draw_arm(
    rng: np.random.Generator, points: dict[str, Array], spine: Array, side: str, sign: float,
    upper: float, fore: float, posture: str,
) -> None:  # fmt: skip
    outward = abs(rng.normal(0.18, 0.15))
    swing = rng.normal(0.0, 0.45)
    flex = abs(rng.normal(0.35, 0.4))
    if posture == "reach" and rng.random() < 0.75:
        outward, swing, flex = rng.uniform(0.9, 2.9), rng.normal(0.2, 0.4), abs(rng.normal(0.2, 0.35))
    elif rng.random() < 0.2:
        outward, swing, flex = rng.uniform(0.4, 1.2), rng.normal(0.2, 0.4), rng.uniform(0.6, 2.2)
    frame = spine @ _rotation("z", -sign * outward) @ _rotation("x", swing)
    points[f"{side}_elbow"] = _limb(points[f"{side}_shoulder"], frame, upper)
    frame = frame @ _rotation("y", -sign * rng.normal(0.5, 0.5)) @ _rotation("x", flex)
    points[f"{side}_wrist"] = _limb(points[f"{side}_elbow"], frame, fore)
    points[f"{side}_hand"] = _limb(points[f"{side}_wrist"], frame, 0.1)


def _draw_leg(
    rng: np.random.Generator, points: dict[str, Array], root: Array, side: str, sign: float,
    thigh: float, shin: float, posture: str,
) -> None:  # fmt: skip
    lift, spread, bend = {
        "stand": (rng.normal(0, 0.08), abs(rng.normal(0.08, 0.08)), abs(rng.normal(0, 0.08))),
        "reach": (rng.normal(0, 0.12), abs(rng.normal(0.15, 0.12)), abs(rng.normal(0, 0.12))),
        "bend": (rng.normal(0, 0.1), abs(rng.normal(0.12, 0.1)), abs(rng.normal(0.1, 0.15))),
        "walk": (rng.normal(0.05, 0.45), abs(rng.normal(0.06, 0.06)), abs(rng.normal(0.3, 0.35))),
        "sit": (rng.normal(1.35, 0.15), abs(rng.normal(0.2, 0.15)), rng.normal(1.4, 0.25)),
        "crouch": (rng.normal(1.2, 0.4), abs(rng.normal(0.3, 0.15)), rng.normal(1.6, 0.4)),
    }[posture]
    frame = root @ _rotation("z", -sign * spread) @ _rotation("x", lift)
    points[f"{side}_knee"] = _limb(points[f"{side}_hip"], frame, thigh)
    frame = frame @ _rotation("x", -abs(bend))
    points[f"{side}_ankle"] = _limb(points[f"{side}_knee"], frame, shin)
    foot = frame @ _rotation("x", 1.35)
    points[f"{side}_toe"] = _limb(points[f"{side}_ankle"], foot, 0.17)
