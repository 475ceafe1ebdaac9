"""Augmentation of a training sample: drawn once from (seed, epoch, index), then applied to center and scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_core.geometry import half_body_center_scale
from pose_core.skeleton import Skeleton
from pose_core.topdown.config import AugmentConfig


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One draw of an augmentation; ``half_body`` is applied only with enough labeled joints."""

    half_body: bool = False
    prefer_upper: bool = False
    scale: float = 1.0
    rotation: float = 0.0
    flip: bool = False


def draw_augmentation(rng: np.random.Generator, config: AugmentConfig) -> Augmentation:
    """Draw half-body, scale, rotation and mirroring; always the same number of variates, regardless of the config."""
    half, turn, mirror = rng.random(3)
    # The published code chooses the upper body if a normal variate is below 0.5: in 69 of 100 cases.
    coin, zoom, angle = rng.standard_normal(3)
    spread, degrees = config.scale, config.rotation
    return Augmentation(
        half_body=bool(half < config.half_body),
        prefer_upper=bool(coin < 0.5),
        scale=float(min(max(1 + zoom * spread, 1 - spread), 1 + spread)),
        rotation=float(min(max(angle * degrees, -2 * degrees), 2 * degrees))
        if turn < config.rotation_probability
        else 0.0,
        flip=bool(mirror < config.flip),
    )


def place_crop(
    augmentation: Augmentation,
    config: AugmentConfig,
    joints: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    skeleton: Skeleton,
    aspect: float,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return center and scale of the crop, in the original image (not mirrored), and whether it shows half a body.

    Half a body was drawn, and enough joints ``(K, 3)`` are labeled.
    """
    half = None
    if augmentation.half_body and (joints[:, 2] > 0).sum() > config.half_body_joints:
        half = half_body_center_scale(
            joints, skeleton.upper_body, aspect, augmentation.prefer_upper, config.half_body_min
        )
    center, scale = half if half is not None else (center, scale)
    return center, scale * np.float32(augmentation.scale), half is not None
