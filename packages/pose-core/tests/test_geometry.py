"""Crops against the published figures, and the properties any crop must have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.geometry import (
    Convention,
    Crop,
    apply_affine,
    box_to_center_scale,
    flip_joints,
    half_body_center_scale,
    heatmap_ratio,
    invert_affine,
)
from pose_core.skeleton import SKELETONS
from pose_testing.golden import load_golden, uniform

GOLDEN = load_golden("asda/functions")
# The published code rounds its three points to float32 before it solves for the matrix.
ROUNDING = 3e-5


@pytest.mark.parametrize("case", GOLDEN["get_affine_transform"], ids=lambda case: f"rot{case['rot']}_inv{case['inv']}")
def test_matrix_is_the_published_one(case: dict[str, Any]) -> None:
    scale = np.array(case["scale"])
    center = np.array(case["center"]) + 200 * scale * np.array(case["shift"])
    crop = Crop(center, scale, tuple(case["output_size"]), case["rot"])
    matrix = crop.inverse if case["inv"] else crop.matrix
    np.testing.assert_allclose(matrix, case["matrix"], rtol=ROUNDING, atol=ROUNDING)
    points = np.array([point["in"] for point in case["points"]])
    expected = np.array([point["out"] for point in case["points"]])
    np.testing.assert_allclose(apply_affine(matrix, points), expected, rtol=ROUNDING, atol=ROUNDING * 10)


def test_heatmap_points_return_to_the_image_as_published() -> None:
    case = GOLDEN["transform_preds"]
    size = tuple(case["output_size"])
    crop = Crop(np.array(case["center"]), np.array(case["scale"]), (size[0] * 4, size[1] * 4))
    moved = crop.heatmap_to_image(np.array(case["coords"]), size)
    np.testing.assert_allclose(moved, case["out"], atol=1e-4)


@pytest.mark.parametrize("case", GOLDEN["box_to_center_scale"], ids=lambda c: f"{c['aspect']}_{c['box_xywh']}")
def test_box_becomes_the_published_center_and_scale(case: dict[str, Any]) -> None:
    center, scale = box_to_center_scale(case["box_xywh"], case["aspect"])
    np.testing.assert_allclose(center, case["center"], rtol=1e-7)
    np.testing.assert_allclose(scale, case["scale"], rtol=2e-7)


@pytest.mark.parametrize("case", GOLDEN["half_body"], ids=lambda c: f"{c['set']}_{c['coin']}_{c['case']}")
def test_half_body_is_the_published_one(case: dict[str, Any]) -> None:
    skeleton = SKELETONS["mpii16" if case["set"] == "mpii" else "coco17"]
    count = skeleton.num_joints
    points = uniform(f"halfbody_{case['set']}", count * 2).reshape(count, 2) * 100 + 150
    joints = np.concatenate([points, np.array(case["visible"])[:, None]], 1)
    half = half_body_center_scale(joints, skeleton.upper_body, case["aspect_ratio"], case["coin"] < 0.5, min_joints=3)
    if case["center"] is None:
        assert half is None
        return
    assert half is not None
    np.testing.assert_allclose(half[0], case["center"], rtol=1e-6)
    np.testing.assert_allclose(half[1], case["scale"], rtol=1e-6)


def test_flipped_joints_are_the_published_ones() -> None:
    case = GOLDEN["fliplr_joints"]
    joints = np.array(case["joints"])
    joints[:, 2] = np.array(case["joints_vis"])[:, 0]
    order = np.arange(len(joints))
    for left, right in case["pairs"]:
        order[[left, right]] = right, left
    flipped = flip_joints(joints, case["width"], order)
    np.testing.assert_allclose(flipped[:, :2], np.array(case["out_joints"])[:, :2], atol=1e-12)
    np.testing.assert_array_equal(flipped[:, 2], np.array(case["out_vis"])[:, 0])


coordinate = st.floats(-500, 1500)
size = st.tuples(st.integers(16, 512), st.integers(16, 512))
convention = st.sampled_from(["published", "unbiased"])
extent = st.floats(0.05, 10)


@given(coordinate, coordinate, extent, extent, size, st.floats(-180, 180), st.none() | st.integers(1, 2000), convention)
def test_there_and_back_is_identity(
    x: float,
    y: float,
    w: float,
    h: float,
    size: tuple[int, int],
    rotation: float,
    mirror: int | None,
    convention: Convention,
) -> None:
    crop = Crop(np.array([x, y]), np.array([w, h]), size, rotation, mirror, convention)
    points = uniform("there_and_back", 20).reshape(10, 2) * 1000
    np.testing.assert_allclose(crop.to_image(crop.to_input(points)), points, atol=1e-6)
    np.testing.assert_allclose(invert_affine(invert_affine(crop.matrix)), crop.matrix, rtol=1e-6, atol=1e-6)


@given(coordinate, coordinate, extent, size, st.floats(-180, 180))
def test_the_center_goes_to_the_middle(
    x: float, y: float, scale: float, size: tuple[int, int], rotation: float
) -> None:
    for convention, less in (("published", 0), ("unbiased", 1)):
        crop = Crop(np.array([x, y]), np.array([scale, scale]), size, rotation, convention=convention)
        middle = np.array([size[0] - less, size[1] - less]) / 2
        np.testing.assert_allclose(crop.to_input(np.array([x, y])), middle, atol=1e-6)


@given(coordinate, coordinate, extent, size, st.floats(-180, 180), st.integers(1, 2000))
def test_mirroring_in_the_matrix_is_mirroring_the_picture(
    x: float, y: float, scale: float, size: tuple[int, int], rotation: float, width: int
) -> None:
    plain = Crop(np.array([x, y]), np.array([scale, scale]), size, rotation)
    mirrored = Crop(np.array([x, y]), np.array([scale, scale]), size, rotation, mirror_width=width)
    points = uniform("mirror", 20).reshape(10, 2) * 500
    opposite = points * [-1, 1] + [width - 1, 0]
    np.testing.assert_allclose(mirrored.to_input(points), plain.to_input(opposite), atol=1e-6)


@given(st.integers(1, 3000), st.sampled_from(sorted(SKELETONS)))
def test_flip_twice_is_identity(width: int, name: str) -> None:
    skeleton = SKELETONS[name]
    joints = uniform(name, skeleton.num_joints * 3).reshape(-1, 3) * 300
    joints[:, 2] = np.arange(len(joints)) % 3
    joints[joints[:, 2] == 0] = 0
    twice = flip_joints(flip_joints(joints, width, skeleton.flip_order), width, skeleton.flip_order)
    np.testing.assert_allclose(twice, joints, atol=1e-9)


def test_conventions_differ_by_the_pixel_at_the_border() -> None:
    assert heatmap_ratio((192, 256), (48, 64), "published") == (0.25, 0.25)
    assert heatmap_ratio((192, 256), (48, 64), "unbiased") == (47 / 191, 63 / 255)
