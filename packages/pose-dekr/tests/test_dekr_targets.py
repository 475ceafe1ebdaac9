"""Targets and losses against the published figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pose_dekr.losses import heatmap_loss, method_losses, offset_loss
from pose_dekr.models import HigherMaps, Maps
from pose_dekr.targets import BOTTOMUP, DEKR, Targets, TargetSpec, make_targets
from pose_testing.golden import load_golden, uniform


def drawn(dataset: str, spec: TargetSpec) -> Targets:
    content = load_golden("dekr/functions")["bottom_up"]["targets"][dataset]
    joints = torch.tensor(content["joints_in_output_pixels"], dtype=torch.float64)[None]
    areas = torch.tensor(content["area"], dtype=torch.float64)[None]
    side = content["output_res"]
    return make_targets(joints, areas, torch.ones(1, side, side, dtype=torch.float64), spec)


def largest_error(found: torch.Tensor, expected: dict[str, Any]) -> float:
    values = found[0].float().numpy()
    assert list(values.shape) == expected["shape"]
    assert np.count_nonzero(values, axis=(1, 2)).tolist() == expected["channel_nonzero"]
    sums = values.astype(np.float64).sum((1, 2))
    assert np.allclose(sums, expected["channel_sums"], rtol=1e-6, atol=1e-3)
    return float(np.abs(values.reshape(-1)[expected["at"]] - np.array(expected["values"])).max())


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_targets_equal_the_published_ones(dataset: str) -> None:
    golden = load_golden("dekr/functions")
    expected = golden["bottom_up"]["targets"][dataset]
    found = drawn(dataset, BOTTOMUP)
    errors = {
        "heatmap": largest_error(found.heatmaps, expected["heatmap"]),
        "mask": largest_error(found.masks, expected["mask"]),
        "offset": largest_error(found.offsets, expected["offset"]),
        "weight": largest_error(found.weights, expected["weight"]),
        "mask of dekr": largest_error(drawn(dataset, DEKR).masks, golden["dekr"]["targets"][dataset]["mask"]),
    }
    print(dataset, errors)
    assert max(errors.values()) < 1e-7
    crop = (slice(8, 20), slice(6, 24))
    assert np.array_equal(found.offsets[0, 0][crop].float().numpy(), np.float32(expected["offset_channel0_rows"]))
    assert np.array_equal(found.weights[0, 0][crop].float().numpy(), np.float32(expected["weight_channel0_rows"]))


def plain_offsets(joints: np.ndarray, areas: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Apply the published rule, pixel by pixel."""
    count = joints.shape[1] - 1
    offsets, weights, owner = (
        np.zeros((2 * count, side, side)),
        np.zeros((2 * count, side, side)),
        np.zeros((side, side)),
    )
    for person, area in zip(joints, areas, strict=True):
        cx, cy, seen = int(person[-1, 0]), int(person[-1, 1]), person[-1, 2]
        if seen < 1 or not (0 <= cx < side and 0 <= cy < side):
            continue
        for j, (x, y, v) in enumerate(person[:-1]):
            if v < 1 or not (0 <= x < side and 0 <= y < side):
                continue
            for row in range(max(cy - 4, 0), min(cy + 4, side)):
                for column in range(max(cx - 4, 0), min(cx + 4, side)):
                    is_set = offsets[2 * j, row, column] != 0 or offsets[2 * j + 1, row, column] != 0
                    if is_set and owner[row, column] < area:
                        continue
                    offsets[2 * j : 2 * j + 2, row, column] = column - x, row - y
                    weights[2 * j : 2 * j + 2, row, column] = 1 / np.sqrt(area)
                    owner[row, column] = area
    return offsets, weights


@pytest.mark.parametrize("seed", range(5))
def test_crowded_offsets_follow_the_published_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    joints = rng.uniform(-3, 19, (2, 12, 6, 3))
    joints[..., :2] = np.where(rng.random((2, 12, 6, 1)) < 0.3, joints[..., :2].round(), joints[..., :2])
    joints[..., 2] = rng.integers(0, 3, (2, 12, 6))
    areas = rng.choice([50.0, 80.0, 200.0], (2, 12))
    found = make_targets(torch.tensor(joints), torch.tensor(areas), torch.ones(2, 16, 16), DEKR)
    for image in range(2):
        offsets, weights = plain_offsets(joints[image], areas[image], 16)
        assert np.array_equal(found.offsets[image].numpy(), offsets)
        assert np.allclose(found.weights[image].numpy(), weights, rtol=1e-14)


def test_an_empty_image_has_empty_targets_and_finite_losses() -> None:
    joints = torch.zeros(1, 0, 4, 3)
    targets = make_targets(joints, torch.zeros(1, 0), torch.ones(1, 8, 8), DEKR)
    assert not targets.heatmaps.any()
    assert torch.equal(targets.masks, torch.full((1, 4, 8, 8), 0.1))
    losses = method_losses(Maps(torch.ones(1, 4, 8, 8), torch.ones(1, 6, 8, 8)), targets)
    assert losses["heatmap"].item() == pytest.approx(0.1)
    assert losses["offset"].item() == 0


def test_ignored_pixels_have_no_mask() -> None:
    keep = torch.ones(1, 8, 8)
    keep[0, :, :4] = 0
    joints = torch.tensor([[[[4.0, 4.0, 2.0], [4.0, 4.0, 1.0]]]])
    masks = make_targets(joints, torch.ones(1, 1), keep, BOTTOMUP).masks
    assert not masks[..., :4].any()
    assert masks[0, 0, 4, 4] == 1


def test_losses_equal_the_published_ones() -> None:
    golden = load_golden("dekr/functions")

    def filled(key: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(uniform(key, int(np.prod(shape))).reshape(shape))

    predicted, target = filled("lp", 2, 3, 5, 6), filled("lg", 2, 3, 5, 6)
    mask = torch.where(filled("lm", 2, 1, 5, 6).abs() > 0.3, 1.0, 0.1)
    per_image = [heatmap_loss(predicted[i : i + 1], target[i : i + 1], mask[i : i + 1]) for i in range(2)]
    assert np.allclose(per_image, golden["bottom_up"]["losses"]["heatmap_loss"], rtol=0, atol=1e-7)
    together = heatmap_loss(predicted, target, mask.expand(-1, 3, -1, -1))
    assert together.item() == pytest.approx(golden["dekr"]["losses"]["heatmap_loss"], abs=1e-7)
    offsets = (2 * filled("op", 2, 4, 5, 6), 2 * filled("og", 2, 4, 5, 6))
    weight = filled("ow", 2, 4, 5, 6).clamp(min=0)
    expected = golden["dekr"]["losses"]["offset_loss"]
    assert offset_loss(*offsets, weight).item() == pytest.approx(expected, abs=1e-12)
    assert offset_loss(*offsets, 0 * weight).item() == 0


def test_the_fine_output_does_not_see_the_center() -> None:
    def targets(side: int) -> Targets:
        return make_targets(torch.zeros(1, 1, 4, 3), torch.ones(1, 1), torch.ones(1, side, side), BOTTOMUP)

    coarse = [torch.full((1, 4, 8, 8), value) for value in (1.0, 2.0, 3.0)]
    output = HigherMaps(*coarse, torch.ones(1, 3, 16, 16), torch.zeros(1, 6, 8, 8))
    losses = method_losses(output, targets(8), targets(16))
    assert losses["heatmap"].item() == pytest.approx(0.1 * (1 + 4 + 9) / 3)
    assert losses["fine"].item() == pytest.approx(0.1)
