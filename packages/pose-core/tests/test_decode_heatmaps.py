"""Decoding against the published figures, and properties that hold for any heatmaps."""

from __future__ import annotations

import os
from typing import Literal
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.geometry import Crop
from pose_core.ops import decode_heatmaps, fuse_flip, soft_argmax
from pose_core.ops.decoding import _fast, _reference
from pose_testing.golden import load_golden, uniform

LITE = load_golden("lite/functions")
ASDA = load_golden("asda/functions")


def maps() -> torch.Tensor:
    return torch.tensor(LITE["soft_argmax"]["heatmaps"], dtype=torch.float64)


@pytest.mark.parametrize("result", LITE["soft_argmax"]["results"], ids=lambda r: f"beta{r['beta']}")
def test_soft_argmax_equals_the_published_one(result: dict) -> None:
    points, scores = decode_heatmaps(maps(), method="soft_argmax", quarter=False, beta=float(result["beta"]))
    assert np.allclose(points.numpy(), np.array(result["coords_xy"]), atol=1e-9)
    assert np.allclose(scores.numpy(), np.array(result["score_at_rounded_coord"])[..., 0], atol=1e-12)


@pytest.mark.usefixtures("ops_path")
def test_argmax_equals_the_published_one() -> None:
    points, scores = decode_heatmaps(maps(), quarter=False)
    assert np.array_equal(points.numpy(), np.array(LITE["argmax"]["coords_xy"]))
    assert np.allclose(scores.numpy(), np.array(LITE["argmax"]["scores"])[..., 0])


@pytest.mark.usefixtures("ops_path")
@pytest.mark.parametrize("result", LITE["final_preds"]["results"], ids=str)
def test_final_predictions_equal_the_published_ones(result: dict) -> None:
    heatmaps = maps()
    soft = str(result["soft_argmax"]) == "True"
    quarter = str(result["post_process"]) == "True"
    points, scores = decode_heatmaps(
        heatmaps, method="soft_argmax" if soft else "argmax", quarter=quarter, beta=float(LITE["final_preds"]["beta"])
    )
    center, scale = np.array(LITE["final_preds"]["center"][0]), np.array(LITE["final_preds"]["scale"][0])
    size = (heatmaps.shape[-1], heatmaps.shape[-2])
    found = Crop(center, scale, size).heatmap_to_image(points[0].numpy(), size)
    assert np.allclose(found, np.array(result["preds_image_xy"])[0], atol=1e-4)
    assert np.allclose(scores.numpy(), np.array(result["scores"])[..., 0], atol=1e-7)


@pytest.mark.usefixtures("ops_path")
def test_the_quarter_offset_equals_the_family_s() -> None:
    figures = ASDA["final_preds"]
    heatmaps = torch.tensor(figures["heatmaps"], dtype=torch.float64)
    size = (heatmaps.shape[-1], heatmaps.shape[-2])
    for key, quarter in (("preds_plain", False), ("preds_quarter", True)):
        points, _ = decode_heatmaps(heatmaps, quarter=quarter)
        for n, (center, scale) in enumerate(zip(figures["center"], figures["scale"], strict=True)):
            found = Crop(np.array(center), np.array(scale), size).heatmap_to_image(points[n].numpy(), size)
            assert np.allclose(found, np.array(figures[key])[n], atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(4, 12), st.integers(4, 12), st.sampled_from([torch.float32, torch.float64])
)
@pytest.mark.parametrize("in_numpy", [True, False])
def test_the_fast_path_equals_the_reference(
    in_numpy: bool, seed: int, height: int, width: int, dtype: torch.dtype
) -> None:
    # Few distinct values, so that ties and plateaus occur; one map all below zero, one of zeros of both signs.
    values = np.random.default_rng(seed).integers(-2, 4, (2, 3, height, width)) / 4
    values[0, 1] = -1 - np.abs(values[0, 1])
    values[1, 2] = np.minimum(values[1, 2], 0) * -0.0
    heatmaps = torch.from_numpy(values).to(dtype)
    points, scores = _reference.argmax(heatmaps)
    fast_points, fast_scores = _fast.argmax(heatmaps, in_numpy=in_numpy)
    assert torch.equal(points, fast_points)
    assert torch.equal(scores, fast_scores)
    moved = _reference.quarter_offset(heatmaps, points)
    assert torch.equal(moved, _fast.quarter_offset(heatmaps, points))
    together, best = _fast.argmax_quarter(heatmaps, in_numpy=in_numpy)
    assert torch.equal(together, moved)
    assert torch.equal(best, scores)


@settings(max_examples=40, deadline=None)
@given(st.floats(8, 38), st.floats(8, 54), st.floats(0.2, 2.0))
def test_dark_finds_a_gaussian_s_center(x: float, y: float, height: float) -> None:
    columns, rows = torch.arange(48.0), torch.arange(64.0)
    gaussian = height * torch.exp(-((columns - x) ** 2 + (rows[:, None] - y) ** 2) / 8)
    points, _ = decode_heatmaps(gaussian[None, None], method="dark", sigma=2.0)
    assert points[0, 0].tolist() == pytest.approx([x, y], abs=0.01)


@pytest.mark.usefixtures("ops_path")
@pytest.mark.parametrize("method", ["argmax", "dark"])
def test_a_map_of_nan_is_at_the_corner_and_leaves_its_neighbors_alone(method: Literal["argmax", "dark"]) -> None:
    heatmaps = torch.zeros(2, 3, 8, 6)
    heatmaps[:, 1] = torch.nan
    heatmaps[:, 0, 7, 5] = heatmaps[:, 2, 0, 0] = 1  # at the pixels next to those of the map of NaN
    points, scores = decode_heatmaps(heatmaps, method=method)
    assert points[0].tolist() == points[1].tolist() == [[5, 7], [0, 0], [0, 0]]
    assert torch.equal(scores.isnan(), torch.tensor([[False, True, False]] * 2))


def test_dark_stays_on_the_peak_at_the_border_and_on_flat_maps() -> None:
    heatmaps = torch.zeros(1, 2, 16, 16)
    heatmaps[0, 0, 0, 5] = 1
    points, _ = decode_heatmaps(heatmaps, method="dark")
    assert points[0].tolist() == [[5, 0], [0, 0]]


def test_soft_argmax_is_differentiable() -> None:
    heatmaps = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: soft_argmax(h, 3.0), (heatmaps,))


@pytest.mark.usefixtures("ops_path")
@pytest.mark.parametrize(("shift", "key"), [(False, "fused_no_shift"), (True, "fused_shifted")])
def test_flip_fusion_is_bit_equal_to_the_published_one(shift: bool, key: str) -> None:
    figures = LITE["flip_fusion"]
    plain = torch.tensor(figures["output"], dtype=torch.float64)
    order = torch.arange(plain.shape[1])
    for a, b in figures["pairs"]:
        order[a], order[b] = b, a
    flipped = torch.tensor(figures["output_of_flipped_input"], dtype=torch.float64)
    fused = fuse_flip(plain, flipped, order, shift=shift)
    assert torch.equal(fused, torch.tensor(figures[key], dtype=torch.float64))


@pytest.mark.usefixtures("ops_path")
def test_flip_fusion_equals_the_family_s() -> None:
    figures, shape = ASDA["flip_back"], (2, 6, 4, 5)
    order = torch.arange(6)
    for a, b in figures["pairs"]:
        order[a], order[b] = b, a
    plain = torch.from_numpy(uniform("flip_plain", 240).reshape(shape))
    mirrored = torch.from_numpy(uniform("flip_back", 240).reshape(shape))
    fused = fuse_flip(plain, mirrored, order, shift=True)
    assert torch.allclose(fused, torch.tensor(figures["fused_with_shift"], dtype=torch.float64), atol=1e-12)


@pytest.mark.usefixtures("ops_path")
def test_fusing_a_map_with_its_own_mirror_changes_nothing() -> None:
    heatmaps = torch.randn(2, 4, 6, 5)
    order = torch.tensor([1, 0, 2, 3])
    mirrored = heatmaps[:, order].flip(3)
    assert torch.equal(fuse_flip(heatmaps, mirrored, order, shift=False), heatmaps)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 19), st.integers(1, 6), st.integers(1, 5), st.integers(1, 9),
    st.booleans(), st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_every_path_of_flip_fusion_is_bit_equal(
    seed: int, count: int, number: int, height: int, width: int, shift: bool, dtype: torch.dtype
) -> None:
    make = torch.Generator().manual_seed(seed)
    # Not contiguous, with subnormal values.
    maps = torch.randn(2, number, count, height, width, generator=make, dtype=dtype).transpose(1, 2)
    plain, mirrored = torch.where(torch.rand(maps.shape, generator=make) < 0.3, maps * torch.finfo(dtype).tiny, maps)
    before, order = mirrored.clone(), torch.randperm(number, generator=make)
    fused = {}
    for path in ("reference", "numpy", "torch"):
        with patch.dict(os.environ, {"POSE_OPS": f"fuse_flip={path}"}):
            fused[path] = fuse_flip(plain, mirrored, order, shift=shift)
    assert torch.equal(fused["numpy"], fused["reference"])
    assert torch.equal(fused["torch"], fused["reference"])
    assert torch.equal(mirrored, before)
