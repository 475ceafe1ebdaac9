"""Person after person, as the published routine goes."""

from __future__ import annotations

import torch
from torch import Tensor


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    return torch.stack([_image(own, people) for own, people in zip(tags, keypoints, strict=True)])


def _image(tags: Tensor, people: Tensor) -> Tensor:
    nothing = tags.sum() * 0  # depends on the tags, so that a gradient exists: zero
    means, pull = [], nothing
    for person in people:
        found = [tags[place] for place, counts in person.tolist() if counts]
        if not found:
            continue
        values = torch.stack(found)
        means.append(values.mean(0))
        pull = pull + (values - means[-1]).square().mean()
    push = nothing
    for number, first in enumerate(means):
        for second in means[number + 1 :]:
            push = push + torch.exp(-(first - second).square().sum())
    count = len(means)
    return torch.stack([0.5 * push / max(1, count * (count - 1) / 2), pull / max(1, count)])
