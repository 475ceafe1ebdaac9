"""Losses of Bottom-Up and DEKR, before their factors."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_dekr.models import HigherMaps, Maps
from pose_dekr.targets import Targets

BETA = 1 / 9
"""Distance at which the smooth L1 loss changes from quadratic to linear."""


def heatmap_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean masked squared error of maps ``(N, C, H, W)``; the mask may have one channel.

    A prediction with fewer channels than the target, such as the fine one without the center, uses the first of them.
    """
    channels = predicted.shape[1]
    mask = mask if mask.shape[1] == 1 else mask[:, :channels]
    return ((predicted - target[:, :channels]).square() * mask).mean()


def offset_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted smooth L1 loss of maps ``(N, 2K, H, W)``, divided by the number of positive weights."""
    distance = (predicted - target).abs()
    loss = (0.5 * distance.square() / BETA).where(distance < BETA, distance - 0.5 * BETA)
    return (loss * weight).sum() / (weight > 0).sum().clamp(min=1)


def method_losses(output: Maps | HigherMaps, targets: Targets, fine: Targets | None = None) -> dict[str, Tensor]:
    """Compute the losses without factors: ``heatmap``, ``offset``, and ``fine`` for the higher-resolution network.

    ``fine`` are the targets at stride 2, of which only heatmaps and masks are used.
    """
    offset = offset_loss(output.offsets, targets.offsets, targets.weights)
    if isinstance(output, Maps):
        return {"heatmap": heatmap_loss(output.heatmaps, targets.heatmaps, targets.masks), "offset": offset}
    assert fine is not None, "the higher-resolution network needs targets at stride 2"
    levels = (output.heatmaps_1, output.heatmaps_2, output.heatmaps_3)
    # The published code concatenates the three along channels, which gives the mean of their means.
    coarse = torch.stack([heatmap_loss(level, targets.heatmaps, targets.masks) for level in levels]).mean()
    return {"heatmap": coarse, "fine": heatmap_loss(output.fine, fine.heatmaps, fine.masks), "offset": offset}
