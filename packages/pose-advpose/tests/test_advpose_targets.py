"""Targets, losses and the batch's accuracy equal the published ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pose_advpose.losses import batch_accuracy, embedding_losses, masked_error, peaks, stacked_error
from pose_advpose.targets import keypoint_references, label_maps, people_heatmaps
from pose_core.geometry import Crop, apply_affine
from pose_testing.golden import load_golden, relative_error, uniform

FIGURES = load_golden("advpose/functions")


@pytest.mark.parametrize("case", FIGURES["create_label"], ids=lambda case: str(case["pt"]))
def test_labels_equal_the_published_ones(case: dict[str, Any]) -> None:
    joint = torch.tensor([[[*case["pt"], 1.0]]], dtype=torch.float64)
    found = label_maps(joint, tuple(case["size"]), case["sigma"], stride=1)[0, 0].numpy()
    assert np.abs(found - np.array(case["label"])).max() < 1e-12


def test_labels_are_at_truncated_coordinates_and_unlabeled_joints_have_none() -> None:
    joints = torch.tensor([[[23.9, 31.0, 1.0], [20.0, 20.0, 0.0]]])
    found = label_maps(joints, (16, 16), 1.0)
    assert peaks(found).tolist() == [[[5, 8], [0, 0]]]


@pytest.mark.parametrize("case", FIGURES["coco_heatmaps"], ids=lambda case: str(case["output_res"]))
def test_everyone_s_heatmaps_and_references_equal_the_published_ones(case: dict[str, Any]) -> None:
    side = case["output_res"]
    joints = torch.tensor(case["keypoints"], dtype=torch.float64)[None]
    heatmaps = people_heatmaps(joints, side, side / 64)[0].numpy()
    error = relative_error(heatmaps, case["heatmap"])
    patch = case["patch_joint0"]
    rows, columns = slice(*patch["rows"]), slice(*patch["cols"])
    difference = np.abs(heatmaps[0, rows, columns] - np.array(patch["values"])).max()
    print(f"{side}: largest error {max(error, difference):.1e}")
    assert error < 1e-6  # float32 as published
    assert difference < 1e-6
    np.testing.assert_allclose(heatmaps.sum((1, 2)), case["heatmap_sum_per_joint"], rtol=1e-6)
    references = keypoint_references(joints, side)[0].tolist()
    assert references == case["keypoint_ref_first_people"]


def test_people_beyond_the_thirtieth_have_heatmaps_but_no_references() -> None:
    joints = torch.zeros(1, 33, 2, 3)
    joints[0, :, :, 0] = torch.arange(33)[:, None] % 16
    joints[..., 2] = 2
    assert keypoint_references(joints, 16).shape == (1, 30, 2, 2)
    assert (people_heatmaps(joints, 16, 1.0)[0, 0, 0] == 1).all()


def test_subpixel_heatmaps_are_centered_on_the_joint() -> None:
    joint = torch.tensor([[[[8.3, 7.9, 2.0], [6.5, 9.5, 2.0]]]], dtype=torch.float64)
    exact = people_heatmaps(joint, 16, 1.0, subpixel=True)[0]
    middles = torch.arange(16) + 0.5
    for heat, (x, y, _) in zip(exact, joint[0, 0], strict=True):
        found = [float((heat.sum(axis) * middles).sum() / heat.sum()) for axis in (0, 1)]
        assert found == pytest.approx([float(x), float(y)], abs=2e-3)
    # The published target places every joint of a pixel at the pixel's center.
    torch.testing.assert_close(exact[1], people_heatmaps(joint, 16, 1.0)[0, 1])


def test_an_image_without_people_has_empty_targets() -> None:
    joints = torch.zeros(2, 1, 17, 3)
    assert not people_heatmaps(joints, 16, 1.0).any()
    assert not keypoint_references(joints, 16).any()


@pytest.mark.parametrize("case", FIGURES["get_transform"], ids=lambda case: str(case["rot"]))
def test_the_core_s_crop_is_the_published_transform(case: dict[str, Any]) -> None:
    scale = np.array([case["scale"]] * 2)
    crop = Crop(np.array(case["center"]), scale, (case["res"], case["res"]), case["rot"])
    assert np.abs(crop.matrix - np.array(case["matrix"])[:2]).max() < 1e-9


@pytest.mark.parametrize("case", FIGURES["transform_points"], ids=lambda case: str(case["rot"]))
def test_points_are_truncated_as_published(case: dict[str, Any]) -> None:
    crop = Crop(np.array(case["center"]), np.array([case["scale"]] * 2), (case["res"], case["res"]), case["rot"])
    found = np.trunc(apply_affine(crop.matrix, np.array(case["points"])))
    assert found.tolist() == case["output"]


def test_the_masked_heatmap_loss_equals_the_published_one() -> None:
    predicted, target = (torch.from_numpy(uniform(f"hml:{name}", 96).reshape(2, 3, 4, 4)) for name in ("pred", "gt"))
    keep = torch.from_numpy(uniform("hml:mask", 32).reshape(2, 4, 4) > -0.3)
    error = np.abs(masked_error(predicted, target, keep).numpy() - FIGURES["masked_heatmap_loss"]["output"]).max()
    assert error < 1e-12


def accuracy_maps(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maps by the rules of the golden file."""
    shape = {"peaks": (3, 4), "missing_joint_everywhere": (2, 3)}.get(name, (1, 2))
    output, target = (torch.zeros(*shape, 20, 20, dtype=torch.float64) for _ in range(2))
    for b in range(shape[0]):
        for j in range(shape[1]):
            if name == "peaks":
                x, y = 2 + 3 * j + b, 4 + 2 * b + j
                output[b, j, y, x + (b * j) % 3] = 1
                target[b, j, y, x] = 0 if (b + j) % 4 == 3 else 1 + 0.1 * j
            elif name == "missing_joint_everywhere":
                output[b, j, 6, 5] = 1
                target[b, j, 6, 5 + j] = j != 1
            elif name == "column_zero_is_ignored":
                output[b, j, 3, 0] = 1
                target[b, j, 3, j] = 1
            elif name == "negative_output":
                output[b, j] = -1
                output[b, j, 7, 7] = -2
                target[b, j, 7, 7] = 1
            elif name == "none_valid":
                output[b, j, 7, 7] = 1
    return output, target


@pytest.mark.parametrize("case", FIGURES["accuracy"], ids=lambda case: case["name"])
def test_the_batch_s_accuracy_equals_the_published_one(case: dict[str, Any]) -> None:
    output, target = accuracy_maps(case["name"])
    count = len(case["idxs"])
    output, target = output[:, :count], target[:, :count]
    assert peaks(output).tolist() == case["preds"]
    assert peaks(target).tolist() == case["gts"]
    assert batch_accuracy(output, target, case["idxs"]).tolist() == pytest.approx(case["accuracy"], abs=1e-12)


def test_losses_add_stacks_and_weigh_push_and_pull() -> None:
    torch.manual_seed(0)
    target, keep = torch.rand(2, 17, 8, 8), torch.rand(2, 8, 8) > 0.3
    joints = torch.rand(2, 3, 17, 3) * 8
    stacks = [torch.randn(2, 68, 8, 8) for _ in range(3)]
    losses = embedding_losses(stacks, target, keep, keypoint_references(joints, 8))
    assert losses.push.shape == losses.pull.shape == losses.detection.shape == (2, 3)
    again = embedding_losses(stacks[1:2], target, keep, keypoint_references(joints, 8))
    for whole, one in zip(losses, again, strict=True):
        torch.testing.assert_close(whole[:, 1], one[:, 0])
    expected = 1e-3 * losses.push.mean() + 1e-3 * losses.pull.mean() + losses.detection.mean()
    torch.testing.assert_close(losses.total(), expected)
    heatmaps = [stack[:, :17] for stack in stacks]
    each = sum(((one - target) ** 2).mean() for one in heatmaps)
    torch.testing.assert_close(stacked_error(heatmaps, target), each)
