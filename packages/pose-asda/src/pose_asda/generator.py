"""The generator: predict an angle and a position for each of the 25 types of part from a crop."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from pose_core.models.resnet import ResNetBackbone

NUM_TYPES = 25
_PI = 3.1415926
"""As published; the outputs of published weights depend on it."""
_REACH = 2.4


class Generator(ResNetBackbone):
    """Crops ``(N, 3, H, W)`` → placements ``(N, 25, 3)`` in −½…½: rotation and translation for each type of part.

    Its input is the crop without parts. A new generator moves nothing. The weights have the published names. ``width``
    is the number of channels of the first stage, 64 as published.
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
        # Half precision is too coarse for positions. Tensors without data have no autocast.
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            return self.fc_locs(features.to(next(self.fc_locs.parameters()).dtype)).reshape(len(x), NUM_TYPES, 3) - 0.5


def generator(num_joints: int = 17, *, depth: Literal[18, 50] = 18) -> Generator:
    """Return a generator; it does not depend on ``num_joints``."""
    return Generator(depth)


def random_placements(count: int, device: torch.device) -> Tensor:
    """Return random placements ``(N, 25, 3)``, uniform in −½…½."""
    return torch.rand(count, NUM_TYPES, 3, device=device) - 0.5


def placements_to_thetas(placements: Tensor, types: Tensor) -> Tensor:
    """Convert placements ``(N, 25, 3)`` of parts of ``types`` ``(N, S)`` to thetas ``(N, S, 2, 3)`` for `ops.paste`.

    Rotations are within ±90° and translations within ±1.2, in coordinates from −1 to 1. An empty slot has type −1 and
    uses the last type's row, which has no effect, since its mask is zero. On a crop that is not square the rotation
    stretches the part, as in the published code.
    """
    # gather does not take negative indices.
    rows = types.remainder(NUM_TYPES)[..., None].expand(-1, -1, 3)
    turn, right, down = placements.gather(1, rows).unbind(-1)
    angle = turn * _PI
    cosine, sine = angle.cos(), angle.sin()
    first = torch.stack([cosine, sine, right * _REACH], -1)
    second = torch.stack([-sine, cosine, down * _REACH], -1)
    return torch.stack([first, second], -2)
