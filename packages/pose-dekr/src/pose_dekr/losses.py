"""Losses of Bottom-Up and DEKR, before their factors."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_dekr.models import HigherMaps, Maps
from pose_dekr.targets import Targets

BETA = 1 / 9
"""Where the smooth L1 loss turns from a parabola into a line."""


def heatmap_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean of the masked squared error, a scalar; ``(N, C, H, W)`` each, the mask perhaps of one channel.

    A prediction of fewer channels than the target, as the fine one without the center, meets the first of them.
    """
    channels = predicted.shape[1]
    mask = mask if mask.shape[1] == 1 else mask[:, :channels]
    return ((predicted - target[:, :channels]).square() * mask).mean()


def offset_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted smooth L1, over the number of positive weights; ``(N, 2K, H, W)`` each."""
    distance = (predicted - target).abs()
    loss = (0.5 * distance.square() / BETA).where(distance < BETA, distance - 0.5 * BETA)
    return (loss * weight).sum() / (weight > 0).sum().clamp(min=1)


def method_losses(output: Maps | HigherMaps, targets: Targets, fine: Targets | None = None) -> dict[str, Tensor]:
    """The losses of a network's output: ``heatmap``, of a higher network ``fine``, and ``offset``; no factors.

    ``fine`` are the targets at stride 2, of which only heatmaps and masks count.
    """
    offset = offset_loss(output.offsets, targets.offsets, targets.weights)
    if isinstance(output, Maps):
        return {"heatmap": heatmap_loss(output.heatmaps, targets.heatmaps, targets.masks), "offset": offset}
    assert fine is not None, "a higher network learns from targets at stride 2, too"
    levels = (output.heatmaps_1, output.heatmaps_2, output.heatmaps_3)
    # The published code stacks the three along channels: the mean of their means.
    coarse = torch.stack([heatmap_loss(level, targets.heatmaps, targets.masks) for level in levels]).mean()
    return {"heatmap": coarse, "fine": heatmap_loss(output.fine, fine.heatmaps, fine.masks), "offset": offset}
