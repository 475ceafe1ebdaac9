"""The losses of both kinds of networks, and the published accuracy of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pose_core.ops import tag_loss
from pose_core.ops.constants import constant

MEASURED_JOINTS = (0, 1, 2, 3, 4, 5, 10, 11, 14, 15)
"""Ankles, knees, hips, wrists and elbows: the joints of the published accuracy."""


class EmbeddingLosses(NamedTuple):
    """Losses ``(B, S)`` of each image and stack."""

    push: Tensor
    pull: Tensor
    detection: Tensor

    def total(self, push_weight: float = 1e-3, pull_weight: float = 1e-3) -> Tensor:
        """Return the training loss: the weighted sum of the means, with the published weights by default."""
        return push_weight * self.push.mean() + pull_weight * self.pull.mean() + self.detection.mean()


def stacked_error(stacks: Sequence[Tensor], target: Tensor, labeled: Tensor | None = None) -> Tensor:
    """Return the mean squared error, summed over stacks, in the target's precision.

    With ``labeled`` ``(N, K)``, only heatmaps of these joints count, but the mean is over all pixels.
    """
    errors = [only_labeled((heatmaps.to(target.dtype) - target).square(), labeled).mean() for heatmaps in stacks]
    return torch.stack(errors).sum()


def masked_error(heatmaps: Tensor, target: Tensor, keep: Tensor, labeled: Tensor | None = None) -> Tensor:
    """Return the squared error of heatmaps ``(B, K, h, w)`` where ``keep`` ``(B, h, w)`` is set, ``(B,)``.

    With ``labeled`` ``(B, K)``, only heatmaps of these joints count. The mean is over all pixels, the masked ones
    included.
    """
    return only_labeled((heatmaps - target).square() * keep[:, None], labeled).mean((1, 2, 3))


def only_labeled(maps: Tensor, labeled: Tensor | None) -> Tensor:
    """Return maps ``(B, K, h, w)``, zero for joints that are not ``labeled`` ``(B, K)``; None: all are."""
    return maps if labeled is None else maps * labeled[:, :, None, None]


def embedding_losses(
    stacks: Sequence[Tensor], heatmaps: Tensor, keep: Tensor, references: Tensor, labeled: Tensor | None = None
) -> EmbeddingLosses:
    """Compute the losses of all stacks ``(B, C, h, w)``, whose first K channels are heatmaps and the next K tags.

    ``heatmaps`` ``(B, K, h, w)`` and ``references`` ``(B, P, K, 2)`` are the targets; ``keep`` ``(B, h, w)`` marks
    the pixels whose heatmaps are learned, and ``labeled`` ``(B, K)`` the joints, by default all.
    """
    joints = heatmaps.shape[1]
    columns = []
    for maps in stacks:
        tags = maps[:, joints : 2 * joints].flatten(1)[..., None]
        detection = masked_error(maps[:, :joints].to(heatmaps.dtype), heatmaps, keep, labeled)
        columns.append(torch.cat([tag_loss(tags, references), detection[:, None]], 1))
    push, pull, detection = torch.stack(columns, 1).unbind(2)
    return EmbeddingLosses(push, pull, detection)


def peaks(heatmaps: Tensor) -> Tensor:
    """Return the peaks ``(N, K, 2)`` of heatmaps ``(N, K, h, w)``.

    As published, x counts from 0 and y from 1; both are 0 where no value is positive.
    """
    best, place = heatmaps.flatten(2).max(2)
    width = heatmaps.shape[3]
    points = torch.stack([place % width, place // width + 1], -1)
    return points * (best > 0)[..., None]


def batch_accuracy(heatmaps: Tensor, target: Tensor, joints: Sequence[int] = MEASURED_JOINTS) -> Tensor:
    """Return the published accuracy ``(1 + len(joints),)`` of heatmaps ``(N, K, h, w)``: the mean, then each joint's.

    The accuracy is the share of peaks within a twentieth of the map's width from the target's; −1 for joints without
    targets. As published, targets whose peak is in the first column do not count.
    """
    listed = constant(tuple(joints), heatmaps.device, torch.int64)
    predicted, expected = peaks(heatmaps.detach().index_select(1, listed)), peaks(target.index_select(1, listed))
    distance = (predicted - expected).double().norm(dim=-1) / (heatmaps.shape[3] / 10)
    counted = (expected > 0).all(-1)
    number = counted.sum(0)
    by_joint = ((distance <= 0.5) & counted).sum(0) / number.clamp_min(1)
    by_joint = torch.where(number > 0, by_joint, -1)
    known = by_joint >= 0
    mean = (by_joint * known).sum() / known.sum().clamp_min(1)
    return torch.cat([mean[None], by_joint])
