"""Losses of heatmaps against the published figures and their own derivatives."""

from __future__ import annotations

import pytest
import torch

from pose_core.ops import gaussian_heatmaps, heatmap_loss, mse_loss, ohkm_loss
from pose_testing.golden import load_golden, uniform

LITE = load_golden("lite/functions")
ASDA = load_golden("asda/functions")["losses"]


def tensors(name: str) -> torch.Tensor:
    return torch.tensor(LITE["joints_mse"][name], dtype=torch.float64)


@pytest.mark.usefixtures("ops_path")
def test_squared_error_and_gradient_equal_the_published_ones() -> None:
    output, target, weight = tensors("output").requires_grad_(), tensors("target"), tensors("target_weight")[..., 0]
    loss = mse_loss(output, target, weight)
    assert loss.item() == pytest.approx(LITE["joints_mse"]["loss_weighted"], abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, output)
    assert torch.allclose(gradient, tensors("grad_weighted"), atol=1e-12)
    assert mse_loss(output, target).item() == pytest.approx(LITE["joints_mse"]["loss_unweighted"], abs=1e-12)


@pytest.mark.usefixtures("ops_path")
def test_losses_equal_the_family_s() -> None:
    shape = (3, 10, 4, 5)
    predicted = torch.from_numpy(uniform("loss_pred", 600).reshape(shape))
    target = torch.from_numpy(uniform("loss_target", 600).reshape(shape))
    weight = torch.tensor(ASDA["weight"], dtype=torch.float64)[..., 0]
    assert mse_loss(predicted, target, weight).item() == pytest.approx(ASDA["mse_weighted"], abs=1e-9)
    assert mse_loss(predicted, target).item() == pytest.approx(ASDA["mse_unweighted"], abs=1e-9)
    assert ohkm_loss(predicted, target, weight, 8).item() == pytest.approx(ASDA["ohkm8_weighted"], abs=1e-9)
    assert ohkm_loss(predicted, target, weight, 3).item() == pytest.approx(ASDA["ohkm3_weighted"], abs=1e-9)
    assert ohkm_loss(predicted, target, None, 8).item() == pytest.approx(ASDA["ohkm8_unweighted"], abs=1e-9)


def test_hard_keypoint_mining_equals_the_published_figure() -> None:
    figures = LITE["joints_ohkm"]
    weight = tensors("target_weight")[..., 0]
    loss = ohkm_loss(tensors("output"), tensors("target"), weight, int(figures["topk"]))
    assert loss.item() == pytest.approx(figures["loss_weighted"], abs=1e-12)


@pytest.mark.usefixtures("ops_path")
def test_the_loss_against_joints_is_the_loss_against_their_gaussians() -> None:
    torch.manual_seed(0)
    predicted = torch.randn(2, 3, 16, 12, dtype=torch.float64, requires_grad=True)
    joints, weights = torch.rand(2, 3, 2) * 48, torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    targets, kept = gaussian_heatmaps(joints, weights, (12, 16), 2.0, ratio=(0.25, 0.25))
    expected = mse_loss(predicted, targets.double(), kept.double())
    loss = heatmap_loss(predicted, joints, weights, 2.0, ratio=(0.25, 0.25))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert torch.autograd.gradcheck(lambda p: heatmap_loss(p, joints, weights, 2.0, ratio=(0.25, 0.25)), (predicted,))


@pytest.mark.usefixtures("ops_path")
def test_unlabeled_joints_teach_nothing() -> None:
    predicted = torch.randn(1, 2, 8, 8, requires_grad=True)
    mse_loss(predicted, torch.zeros(1, 2, 8, 8), torch.tensor([[1.0, 0.0]])).backward()
    assert predicted.grad is not None
    assert predicted.grad[0, 0].any()
    assert not predicted.grad[0, 1].any()
