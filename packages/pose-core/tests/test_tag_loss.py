"""Push and pull against the published figures and their own derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pose_core.ops import tag_loss
from pose_testing.golden import load_golden, uniform

CASES = {case["name"]: case for case in load_golden("advpose/functions")["ae_loss"]["cases"]}


def inputs(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    shape = case["tags_shape"]
    tags = 1.5 * uniform(f"ae:{case['name']}", int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(tags).requires_grad_(), torch.tensor(case["keypoints"])


@pytest.mark.usefixtures("ops_path")
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_published_ones(name: str) -> None:
    case = CASES[name]
    tags, keypoints = inputs(case)
    found = tag_loss(tags, keypoints)
    expected = torch.tensor(case["output_push_pull"], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(found, tags, torch.tensor(case["grad_output"], dtype=torch.float64))
    whole = torch.zeros_like(tags)
    for place, value in zip(case["grad_nonzero_index"], case["grad_nonzero"], strict=True):
        whole[tuple(place)] = value
    errors = float((found - expected).detach().abs().max()), float((gradient - whole).abs().max())
    print(f"{name}: largest error of the values {errors[0]:.1e}, of the gradient {errors[1]:.1e}")
    assert max(errors) < 1e-12


@pytest.mark.usefixtures("ops_path")
def test_the_gradient_is_the_derivative() -> None:
    tags, keypoints = inputs(CASES["batch_mixed"])
    few = torch.arange(100).eq(keypoints[..., 0].reshape(-1, 1)).any(0).nonzero()[:, 0]
    renumbered = torch.searchsorted(few, keypoints[..., 0].contiguous())
    points = torch.stack([renumbered, keypoints[..., 1]], -1)
    assert torch.autograd.gradcheck(lambda t: tag_loss(t, points), (tags[:, few].detach().requires_grad_(),))


def test_padding_and_order_change_nothing() -> None:
    tags, keypoints = inputs(CASES["three_people"])
    padded = torch.zeros(1, 30, 17, 2, dtype=torch.long)
    padded[:, 4:9, 5:9] = keypoints
    # What does not count may hold any number.
    padded[:, 20, 3] = torch.tensor([10**6, 0])
    torch.testing.assert_close(tag_loss(tags, padded), tag_loss(tags, keypoints), rtol=0, atol=1e-15)


@pytest.mark.usefixtures("ops_path")
def test_without_people_there_is_a_gradient_and_it_is_zero() -> None:
    tags = torch.randn(2, 50, 1, requires_grad=True)
    tag_loss(tags, torch.zeros(2, 30, 17, 2, dtype=torch.long)).sum().backward()
    assert tags.grad is not None
    assert not tags.grad.any()


def test_half_precision_is_computed_in_full() -> None:
    tags, keypoints = inputs(CASES["three_people"])
    with torch.autocast("cpu", torch.bfloat16):
        found = tag_loss(tags.detach().bfloat16(), keypoints)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, tag_loss(tags.detach().bfloat16().float(), keypoints))
