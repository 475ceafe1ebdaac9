"""Cost of a network: parameters, and multiply-adds in the true and in the published count."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pose_core.models.deform_conv import DeformConv


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, input_size: tuple[int, int]) -> tuple[int, int]:
    """Return true multiply-adds, and the published count, for one image of ``input_size`` (w, h).

    Convolution: weights × output positions. Transposed convolution: weights × *input* positions; the published rule
    takes output positions there too, four times as many at stride 2. A deformable convolution costs as a plain one.
    A layer that is called three times costs three times. Neither counts the products of two activations
    (attention's weighted means: under 0.3 % in LPN), as the published figures do not.
    """
    true = published = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal true, published
        weights = module.weight.numel() if isinstance(module.weight, Tensor) else 0
        if isinstance(module, nn.Linear):
            true += weights
            published += weights
            return
        after = output.shape[-2] * output.shape[-1]
        before = inputs[0].shape[-2] * inputs[0].shape[-1]
        true += weights * (before if isinstance(module, nn.ConvTranspose2d) else after)
        published += weights * after

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, DeformConv)
    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, kinds)]
    was_training = model.training
    device = next(model.parameters()).device
    # The stem comes first; a critic's takes heatmaps in addition to the image.
    channels = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3)
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, input_size[1], input_size[0], device=device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return true, published
