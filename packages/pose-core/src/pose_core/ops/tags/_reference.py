"""Person by person, as published."""

from __future__ import annotations

import torch
from torch import Tensor


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    return torch.stack([_image(own, people) for own, people in zip(tags, keypoints, strict=True)])


def _image(tags: Tensor, people: Tensor) -> Tensor:
    """Return push and pull of one image, ``(2,)``; ``people`` ``(P, K, 2)``."""
    zero = tags.sum() * 0  # depends on the tags, so that a gradient exists
    means, pull = [], zero
    for person in people:
        joints = [tags[index] for index, counts in person.tolist() if counts]
        if not joints:
            continue
        values = torch.stack(joints)
        means.append(values.mean(0))
        pull = pull + (values - means[-1]).square().mean()
    push = zero
    for number, first in enumerate(means):
        for second in means[number + 1 :]:
            push = push + torch.exp(-(first - second).square().sum())
    count = len(means)
    return torch.stack([0.5 * push / max(1, count * (count - 1) / 2), pull / max(1, count)])
