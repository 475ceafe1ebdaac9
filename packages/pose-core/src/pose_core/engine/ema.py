"""An exponential moving average of a network."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


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
        self.averaged = _columns([pair for pair in pairs if pair[0].is_floating_point()])
        self.copied = _columns([pair for pair in pairs if not pair[0].is_floating_point()])

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the network's current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in self.averaged:
            torch._foreach_lerp_(mine, theirs, 1 - decay)
        for mine, theirs in self.copied:
            torch._foreach_copy_(mine, theirs)


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Return the average's tensors and the network's; nothing if there are none, which PyTorch does not take."""
    return [([mine for mine, _ in pairs], [theirs for _, theirs in pairs])] if pairs else []
