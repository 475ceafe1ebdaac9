"""One expression: the weights are factored out of the sum over pixels."""

from __future__ import annotations

from torch import Tensor


def mse_loss(predicted: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    squares = (predicted - targets).square().sum((2, 3))
    if weights is not None:
        squares = squares * weights.square()
    return squares.sum() * (0.5 / predicted.numel())
