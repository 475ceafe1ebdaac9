"""The network of an experiment on crops, ready to predict."""

from __future__ import annotations

import torch
from torch import nn

from pose_core.engine.precision import inference_dtype
from pose_core.runtimes.choice import ready_network
from pose_core.topdown.config import TopDownConfig


def crop_network(
    network: nn.Module, config: TopDownConfig, device: torch.device, crops: int | None = None
) -> nn.Module:
    """Return a copy of a network to predict with, by what computes it best for the number of ``crops``, if known."""
    views = 2 if config.test.flip else 1
    return ready_network(
        network,
        config,
        device,
        dtype=inference_dtype(config.test.precision, device),
        batch=views * (config.test.batch_size if crops is None else min(crops, config.test.batch_size)),
        images=None if crops is None else views * crops,
    )
