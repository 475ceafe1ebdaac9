"""All images, people and pairs at once: fixed shapes, and nothing is read back from the device."""

from __future__ import annotations

import torch
from torch import Tensor


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    batch, people, joints = keypoints.shape[:3]
    counts = keypoints[..., 1] != 0
    # Places that do not count may hold anything: they look at the first tag, and what they see is dropped.
    places = torch.where(counts, keypoints[..., 0], 0).reshape(batch, people * joints, 1).long()
    found = tags.gather(1, places.expand(-1, -1, tags.shape[-1])).reshape(batch, people, joints, -1)
    found = torch.where(counts[..., None], found, 0)
    number = counts.sum(2).to(tags.dtype)
    share = 1 / number.clamp_min(1)
    means = found.sum(2) * share[..., None]
    is_there = (number > 0).to(tags.dtype)
    heads = is_there.sum(1)
    apart = torch.where(counts[..., None], found - means[:, :, None], 0)
    pull = (apart.square().mean(3).sum(2) * share).sum(1) / heads.clamp_min(1)
    # Each pair stands twice in the square, and everyone once beside itself: half of what is off the diagonal.
    distance = (means[:, :, None] - means[:, None]).square().sum(3)
    pairs = is_there[:, :, None] * is_there[:, None]
    off_diagonal = 1 - torch.eye(people, dtype=tags.dtype, device=tags.device)
    close = (torch.exp(-distance) * pairs * off_diagonal).sum((1, 2))
    push = 0.5 * close / (heads * (heads - 1)).clamp_min(1)
    # Where nobody is there is a path back to the tags all the same, and its gradient is zero.
    return torch.stack([push, pull], 1)
