"""Augmentation: the published distributions, and the same draw for the same (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.data.sampler import sample_rng
from pose_core.geometry import half_body_center_scale
from pose_core.skeleton import SKELETONS
from pose_core.topdown.augment import Augmentation, draw_augmentation, place_crop
from pose_core.topdown.config import AugmentConfig

COCO = SKELETONS["coco17"]
DRAWS = 4000


def draws(config: AugmentConfig) -> list[Augmentation]:
    return [draw_augmentation(sample_rng(7, 0, index), config) for index in range(DRAWS)]


@given(st.integers(0, 2**40), st.integers(0, 500), st.integers(0, 2**31))
def test_a_draw_depends_on_seed_epoch_and_index_alone(seed: int, epoch: int, index: int) -> None:
    config = AugmentConfig(half_body=0.5)
    draw = draw_augmentation(sample_rng(seed, epoch, index), config)
    assert draw == draw_augmentation(sample_rng(seed, epoch, index), config)
    others = [(seed + 1, epoch, index), (seed, epoch + 1, index), (seed, epoch, index + 1)]
    assert all(sample_rng(*other).random() != sample_rng(seed, epoch, index).random() for other in others)


def test_distributions_are_the_published_ones() -> None:
    found = draws(AugmentConfig(flip=0.5, scale=0.35, rotation=45, rotation_probability=0.6, half_body=0.3))
    share = {
        "flip": np.mean([draw.flip for draw in found]),
        "half_body": np.mean([draw.half_body for draw in found]),
        "upper": np.mean([draw.prefer_upper for draw in found]),
        "turned": np.mean([draw.rotation != 0 for draw in found]),
    }
    assert share == pytest.approx({"flip": 0.5, "half_body": 0.3, "upper": 0.6915, "turned": 0.6}, abs=0.03)
    scales = np.array([draw.scale for draw in found])
    angles = np.array([draw.rotation for draw in found if draw.rotation])
    assert (scales.min(), scales.max()) == (0.65, 1.35)
    # A normal variate is clipped at one standard deviation: 32 % of the scales stand at an end.
    assert np.mean((scales == 0.65) | (scales == 1.35)) == pytest.approx(0.3173, abs=0.03)
    assert np.abs(angles).max() == 90
    assert np.mean(np.abs(angles) == 90) == pytest.approx(0.0455, abs=0.02)
    assert angles.std() == pytest.approx(44, abs=2)


def test_nothing_happens_where_nothing_is_asked() -> None:
    off = AugmentConfig(flip=0, scale=0, rotation=0, half_body=0)
    assert {(d.half_body, d.scale, d.rotation, d.flip) for d in draws(off)} == {(False, 1.0, 0.0, False)}


def joints(labeled: int) -> np.ndarray:
    rows = np.stack([np.arange(17) * 10.0, np.arange(17) * 5.0, np.zeros(17)], 1)
    rows[:labeled, 2] = 2
    return rows


def test_half_body_needs_more_than_eight_joints() -> None:
    config, center, scale = AugmentConfig(half_body=1), np.zeros(2), np.ones(2)
    draw = Augmentation(half_body=True, prefer_upper=True, scale=1.5)
    for labeled in (8, 9):
        found = place_crop(draw, config, joints(labeled), center, scale, COCO, 0.75)
        half = half_body_center_scale(joints(labeled), COCO.upper_body, 0.75, True)
        assert half is not None
        expected = (center, scale * 1.5) if labeled == 8 else (half[0], half[1] * np.float32(1.5))
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
