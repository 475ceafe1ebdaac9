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
        self.source = network
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        # Training changes these tensors in place: they are listed once.
        self.averaged = [
            list(kind) for kind in zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        ]
        self.copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the network's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.averaged[0], self.averaged[1], 1 - decay)
        for mine, theirs in self.copied:
            mine.copy_(theirs)
