"""The tag loss in one launch on a GPU, one program per image; PyTorch needs thirty small ones, and as many backward."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}
"""Type of the tags → type that the kernels compute in."""


@triton.jit
def _slots(keypoints, image, people, joints, PEOPLE: tl.constexpr, JOINTS: tl.constexpr):
    """Return all people's indices in the tag map, and which of them count."""
    person, joint = tl.arange(0, PEOPLE)[:, None], tl.arange(0, JOINTS)[None, :]
    is_slot = (person < people) & (joint < joints)
    slot = keypoints + ((image * people + person) * joints + joint) * 2
    counts = tl.load(slot + 1, mask=is_slot, other=0) != 0
    return tl.load(slot, mask=counts, other=0), counts


@triton.jit
def _pairs(
    tags, index, counts, share, present, DIMENSIONS: tl.constexpr, KIND: tl.constexpr, PEOPLE: tl.constexpr
):  # fmt: skip
    """Return how close each two people's mean tags are: one if equal, zero on the diagonal and for empty rows."""
    apart = tl.zeros([PEOPLE, PEOPLE], dtype=KIND)
    for d in tl.static_range(DIMENSIONS):
        value = tl.load(tags + index * DIMENSIONS + d, mask=counts, other=0.0)
        mean = tl.sum(value, 1) * share
        step = mean[:, None] - mean[None, :]
        apart += step * step
    number = tl.arange(0, PEOPLE)
    is_pair = present[:, None] & present[None, :] & (number[:, None] != number[None, :])
    return tl.where(is_pair, tl.exp(-apart), 0.0)


@triton.jit
def _forward(
    tags, keypoints, output, values, people, joints,
    DIMENSIONS: tl.constexpr, KIND: tl.constexpr, PEOPLE: tl.constexpr, JOINTS: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    index, counts = _slots(keypoints, image, people, joints, PEOPLE, JOINTS)
    own = tags + image * values
    number = tl.sum(counts.to(KIND), 1)
    share, present = 1.0 / tl.maximum(number, 1.0), number > 0
    num_people = tl.sum(present.to(KIND), 0)
    pull = tl.zeros([PEOPLE], dtype=KIND)
    for d in tl.static_range(DIMENSIONS):
        value = tl.load(own + index * DIMENSIONS + d, mask=counts, other=0.0)
        mean = tl.sum(value, 1) * share
        apart = tl.where(counts, value - mean[:, None], 0.0)
        pull += tl.sum(apart * apart, 1) * share / DIMENSIONS
    close = _pairs(own, index, counts, share, present, DIMENSIONS, KIND, PEOPLE)
    push = 0.5 * tl.sum(tl.sum(close, 1), 0) / tl.maximum(num_people * (num_people - 1.0), 1.0)
    tl.store(output + image * 2, push)
    tl.store(output + image * 2 + 1, tl.sum(pull, 0) / tl.maximum(num_people, 1.0))


@triton.jit
def _backward(
    tags, keypoints, upstream, gradient, values, people, joints,
    DIMENSIONS: tl.constexpr, KIND: tl.constexpr, PEOPLE: tl.constexpr, JOINTS: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    index, counts = _slots(keypoints, image, people, joints, PEOPLE, JOINTS)
    own = tags + image * values
    number = tl.sum(counts.to(KIND), 1)
    share, present = 1.0 / tl.maximum(number, 1.0), number > 0
    num_people = tl.sum(present.to(KIND), 0)
    # The matrix holds each pair twice.
    to_mean = -2.0 * tl.load(upstream + image * 2) / tl.maximum(num_people * (num_people - 1.0), 1.0)
    to_apart = 2.0 * tl.load(upstream + image * 2 + 1) / (tl.maximum(num_people, 1.0) * DIMENSIONS)
    close = _pairs(own, index, counts, share, present, DIMENSIONS, KIND, PEOPLE)
    for d in tl.static_range(DIMENSIONS):
        value = tl.load(own + index * DIMENSIONS + d, mask=counts, other=0.0)
        mean = tl.sum(value, 1) * share
        turn = to_mean * tl.sum((mean[:, None] - mean[None, :]) * close, 1)
        slope = (turn[:, None] + to_apart * (value - mean[:, None])) * share[:, None]
        # Two people may share an index.
        tl.atomic_add(gradient + image * values + index * DIMENSIONS + d, slope, mask=counts)


def _frame(tags: Tensor, keypoints: Tensor) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Return the kernels' sizes and compile-time constants."""
    people, joints = keypoints.shape[1:3]
    fixed = {
        "DIMENSIONS": tags.shape[2],
        "KIND": KINDS[tags.dtype],
        "PEOPLE": triton.next_power_of_2(people),
        "JOINTS": triton.next_power_of_2(joints),
    }
    return (tags.shape[1] * tags.shape[2], people, joints), fixed


@torch.library.custom_op("pose::tag_loss", mutates_args=())
def loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    """Return push and pull ``(B, 2)`` of contiguous tensors, ``keypoints`` int64."""
    output = tags.new_empty(len(tags), 2)
    sizes, fixed = _frame(tags, keypoints)
    with torch.cuda.device_of(tags):
        _forward[(len(tags),)](tags, keypoints, output, *sizes, **fixed)
    return output


@loss.register_fake
def _(tags: Tensor, keypoints: Tensor) -> Tensor:
    return tags.new_empty(len(tags), 2)


@torch.library.custom_op("pose::tag_loss_gradient", mutates_args=())
def loss_gradient(upstream: Tensor, tags: Tensor, keypoints: Tensor) -> Tensor:
    """Return the gradient with respect to the tags."""
    gradient = torch.zeros_like(tags)
    sizes, fixed = _frame(tags, keypoints)
    with torch.cuda.device_of(tags):
        _backward[(len(tags),)](tags, keypoints, upstream, gradient, *sizes, **fixed)
    return gradient


@loss_gradient.register_fake
def _(upstream: Tensor, tags: Tensor, keypoints: Tensor) -> Tensor:
    return torch.empty_like(tags)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
    return loss_gradient(upstream.contiguous(), *ctx.saved_tensors), None


loss.register_autograd(_differentiate, setup_context=_save_inputs)


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    output: Tensor = loss(tags.contiguous(), keypoints.long().contiguous())
    return output
