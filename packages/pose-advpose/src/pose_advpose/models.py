"""The four tasks' networks and critics by name; the hourglass of residuals is the core's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pose_advpose.embedding import HourglassAE
from pose_core.errors import ConfigError
from pose_core.models.hourglass import HourglassStack, StackedHourglass

PUBLISHED_NAMES = {
    "nStacks": "stacks",
    "nModules": "modules",
    "nFeat": "channels",
    "nClasses": "num_joints",
    "inplanes": "inputs",
}
"""Published keyword of a critic → our keyword."""


class Critic(HourglassStack):
    """Small images and heatmaps, concatenated ``(N, 3 + K, h, w)`` → reconstructed heatmaps ``(N, K, h, w)``.

    The critic is an autoencoder of real heatmaps: its reconstruction error is the score. There is no logit.
    """

    def __init__(self, num_joints: int, stacks: int, modules: int, channels: int, depth: int, inputs: int) -> None:
        super().__init__(num_joints, stacks, modules, channels, depth, inputs=inputs, full_resolution=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.stacks(x)[-1]


def hourglass(
    num_joints: int = 16, *, stacks: int, modules: int = 1, channels: int = 256, depth: int = 4
) -> StackedHourglass:
    """Build a stacked hourglass: images → a tuple of heatmaps at stride 4, first stack first."""
    return StackedHourglass(num_joints, stacks, modules, channels, depth)


def hourglass_ae(
    num_joints: int = 17,
    *,
    stacks: int,
    channels: int = 256,
    outputs: int | None = None,
    increase: int = 128,
    depth: int = 4,
    bn: bool = False,
    original: bool = False,
) -> HourglassAE:
    """Build an embedding network: images → a tuple of maps: heatmaps, tags, and, as published, 2·K unused channels."""
    maps = outputs or 4 * num_joints
    return HourglassAE(maps, stacks, channels, increase=increase, depth=depth, bn=bn, original=original)


def critic(
    num_joints: int = 16,
    *,
    stacks: int = 4,
    modules: int = 2,
    channels: int = 256,
    depth: int = 4,
    inputs: int | None = None,
    **published: Any,
) -> Critic:
    """Build the critic of either adversarial task; published keywords and the published class's name are accepted."""
    published.pop("cls", None)
    given = {
        "num_joints": num_joints, "stacks": stacks, "modules": modules, "channels": channels, "depth": depth,
        "inputs": inputs,
    }  # fmt: skip
    for name, value in published.items():
        if name not in PUBLISHED_NAMES:
            known = ", ".join([*given, *PUBLISHED_NAMES])
            raise ConfigError(f"a critic does not take {name!r}; it takes {known}")
        given[PUBLISHED_NAMES[name]] = value
    if given["inputs"] is None:
        given["inputs"] = 3 + int(given["num_joints"] or 0)
    return Critic(**given)  # type: ignore[arg-type]  # all are numbers by now
