"""An exponential moving average of a network."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Average:
    """The running average of a network's weights, as ``network``; counters and integer buffers are copied.

    The decay starts small, min(decay, (1 + n) / (10 + n)), so that the initial random weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards ``network``'s current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs)
