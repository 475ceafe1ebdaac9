"""Targets: the published quantized Gaussians, equal bit for bit, and sub-pixel ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.ops import gaussian_heatmaps
from pose_core.ops.heatmaps import _fast, _reference
from pose_testing.golden import load_golden

CASES = load_golden("asda/functions")["generate_target"]


@pytest.mark.usefixtures("ops_path")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"sigma{case['sigma']}-{case['heatmap_size'][0]}")
def test_quantized_targets_equal_the_published_ones(case: dict) -> None:
    joints = torch.tensor([[row["joint"][:2] for row in case["joints"]]], dtype=torch.float32)
    visible = torch.tensor([[float(row["vis"]) for row in case["joints"]]])
    (w, h), (width, height) = case["heatmap_size"], case["image_size"]
    maps, weights = gaussian_heatmaps(joints, visible, (w, h), case["sigma"], ratio=(w / width, h / height))
    assert maps.dtype == torch.float32
    for k, row in enumerate(case["joints"]):
        if case["joints_weight"] is None:
            assert float(weights[0, k]) == row["weight"]
        values = maps[0, k].double().numpy()
        assert (values != 0).sum() == row["nonzero"]
        assert values.sum() == pytest.approx(row["sum"], rel=1e-6, abs=1e-9)
        for sample in row.get("samples", []):
            y, x = sample["yx"]
            # A processor's exp may differ by an ulp or two of float32, 6e-8 each.
            assert values[y, x] == pytest.approx(sample["value"], abs=3e-7)


joint = st.tuples(st.floats(-60, 300), st.floats(-60, 300), st.sampled_from([0.0, 1.0]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(joint, min_size=1, max_size=8),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.booleans(),
    st.sampled_from([(48, 64), (9, 7), (1, 40)]),
)
def test_the_fast_path_equals_the_reference(
    rows: list[tuple[float, float, float]], sigma: float, quantize: bool, size: tuple[int, int]
) -> None:
    table = torch.tensor([rows], dtype=torch.float32)
    arguments = (table[..., :2], table[..., 2], size, sigma, quantize, (0.25, 0.25))
    maps, weights = _fast.gaussian_heatmaps(*arguments, in_bands=True)
    assert torch.equal(maps, _fast.gaussian_heatmaps(*arguments, in_bands=False)[0])
    expected, expected_weights = _reference.gaussian_heatmaps(*arguments)
    assert torch.equal(weights, expected_weights)
    assert (maps - expected).abs().max() <= 5e-7


@pytest.mark.usefixtures("ops_path")
def test_a_joint_far_outside_has_no_weight_and_no_map() -> None:
    joints = torch.tensor([[[-100.0, 50.0], [50.0, 900.0], [10.0, 10.0]]])
    maps, weights = gaussian_heatmaps(joints, torch.ones(1, 3), (48, 64), 2.0, ratio=(0.25, 0.25))
    assert weights.tolist() == [[0, 0, 1]]
    assert not maps[0, :2].any()


@pytest.mark.usefixtures("ops_path")
def test_peaks_are_one_on_a_pixel_and_where_the_joint_is() -> None:
    joints = torch.tensor([[[20.0, 30.0], [21.4, 33.3]]])
    quantized, _ = gaussian_heatmaps(joints, torch.ones(1, 2), (48, 64), 2.0)
    assert quantized[0, 0, 30, 20] == 1
    assert quantized[0, 1].max() == 1
    exact, _ = gaussian_heatmaps(joints, torch.ones(1, 2), (48, 64), 2.0, quantize=False)
    rows, columns = np.mgrid[:64, :48]
    share = exact[0, 1].double().numpy() / exact[0, 1].double().sum().item()
    assert (share * columns).sum() == pytest.approx(21.4, abs=1e-4)
    assert (share * rows).sum() == pytest.approx(33.3, abs=1e-4)
