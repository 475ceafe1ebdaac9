"""Joint by joint, as published."""

from __future__ import annotations

import torch
from torch import Tensor


def mse_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    number = predicted.shape[1]
    total = torch.zeros((), dtype=predicted.dtype, device=predicted.device)
    for k in range(number):
        weight = 1 if weights is None else weights[:, k, None, None]
        total = total + 0.5 * (weight * predicted[:, k] - weight * targets[:, k]).square().mean()
    return total / number
