"""The moving average of weights as it is usually written: tensor by tensor, over two state dicts, in every step."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class AverageByTensor:
    """The running average of a network's weights, as ``network``; counters are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.source, self.decay, self.updates = network, decay, 0
        self.network = deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the network's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in zip(self.network.state_dict().values(), self.source.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs.to(mine.dtype), 1 - decay)
            else:
                mine.copy_(theirs)
