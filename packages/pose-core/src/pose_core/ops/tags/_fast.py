"""All images, people and pairs in one call: fixed shapes, and nothing is read back from the device."""

from __future__ import annotations

import torch
from torch import Tensor


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    batch, people, joints = keypoints.shape[:3]
    counts = keypoints[..., 1] != 0
    # Indices that do not count may have any value: they read the first tag, which is discarded.
    indices = torch.where(counts, keypoints[..., 0], 0).reshape(batch, people * joints, 1).long()
    own = tags.gather(1, indices.expand(-1, -1, tags.shape[-1])).reshape(batch, people, joints, -1)
    own = torch.where(counts[..., None], own, 0)
    number = counts.sum(2).to(tags.dtype)
    share = 1 / number.clamp_min(1)
    means = own.sum(2) * share[..., None]
    present = (number > 0).to(tags.dtype)
    num_people = present.sum(1)
    apart = torch.where(counts[..., None], own - means[:, :, None], 0)
    pull = (apart.square().mean(3).sum(2) * share).sum(1) / num_people.clamp_min(1)
    # The matrix holds each pair twice, and each person on its diagonal: take half of the rest.
    distance = (means[:, :, None] - means[:, None]).square().sum(3)
    pairs = present[:, :, None] * present[:, None]
    off_diagonal = 1 - torch.eye(people, dtype=tags.dtype, device=tags.device)
    close = (torch.exp(-distance) * pairs * off_diagonal).sum((1, 2))
    push = 0.5 * close / (num_people * (num_people - 1)).clamp_min(1)
    # Without people both still depend on the tags, so that a (zero) gradient exists.
    return torch.stack([push, pull], 1)
