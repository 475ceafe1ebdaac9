"""The generator: from a crop, for each of the 25 types of part, an angle and a place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pose_core.models.resnet import ResNetBackbone

NUM_TYPES = 25
_PI = 3.1415926
"""As published; to be kept where published weights are compared."""
_REACH = 2.4


class Generator(ResNetBackbone):
    """Crops ``(N, 3, H, W)`` → placements ``(N, 25, 3)`` in −½…½: a turn and a move, for each type of part.

    It sees the crop and never the parts; a fresh one moves nothing. Keys are the published ones. ``width`` is the first
    stage's planes, 64 in any published one.
    """

    def __init__(self, depth: Literal[18, 50] = 18, width: int = 64) -> None:
        super().__init__(depth, width=width)
        hidden = 128 * NUM_TYPES
        self.fc_locs = nn.Sequential(
            nn.Conv2d(self.widths[3], hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 3 * NUM_TYPES, 1, groups=NUM_TYPES),
            nn.Sigmoid(),
        )
        for parameter in self.fc_locs[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(x)[3].mean((2, 3), keepdim=True)
        return self.fc_locs(features).reshape(len(x), NUM_TYPES, 3) - 0.5


def generator(num_joints: int = 17, *, depth: Literal[18, 50] = 18) -> Generator:
    """A generator by name; joints play no part in it."""
    return Generator(depth)


def random_placements(count: int, device: torch.device) -> Tensor:
    """``(N, 25, 3)`` placements like a generator's, from chance."""
    return torch.rand(count, NUM_TYPES, 3, device=device) - 0.5


def placements_to_thetas(placements: Tensor, types: Tensor) -> Tensor:
    """Placements ``(N, 25, 3)`` of the parts of ``types`` ``(N, S)`` → thetas ``(N, S, 2, 3)`` for `ops.paste`.

    A turn within ±90° and a move within ±1.2, in coordinates from −1 to 1. An empty slot has type −1 and takes the
    last type's row, which shows nowhere: its mask is zero. On a crop that is not square, turning these coordinates
    stretches the part, as it did for the published weights.
    """
    # Negative indices count from the end, gather does not know them.
    rows = types.remainder(NUM_TYPES)[..., None].expand(-1, -1, 3)
    turn, right, down = placements.gather(1, rows).unbind(-1)
    angle = turn * _PI
    cosine, sine = angle.cos(), angle.sin()
    first = torch.stack([cosine, sine, right * _REACH], -1)
    second = torch.stack([-sine, cosine, down * _REACH], -1)
    return torch.stack([first, second], -2)
