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
"""What the published code calls a critic's keywords."""


class Critic(HourglassStack):
    """Small images and heatmaps, on the channel axis ``(N, 3 + K, h, w)`` → heatmaps ``(N, K, h, w)`` made anew.

    It is an autoencoder of real heatmaps: what it cannot draw again, it finds false. There is no logit.
    """

    def __init__(self, num_joints: int, stacks: int, modules: int, channels: int, depth: int, inputs: int) -> None:
        super().__init__(num_joints, stacks, modules, channels, depth, inputs=inputs, full_resolution=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.stacks(x)[-1]


def hourglass(
    num_joints: int = 16, *, stacks: int, modules: int = 1, channels: int = 256, depth: int = 4
) -> StackedHourglass:
    """Images → a tuple of heatmaps at a quarter of their side, first stack first."""
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
) -> HourglassAE:
    """Images → a tuple of maps: heatmaps, tags, and, as published, as many channels again that nothing reads."""
    return HourglassAE(outputs or 4 * num_joints, stacks, channels, increase=increase, depth=depth, bn=bn)


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
    """The critic of either adversarial task; takes the published keywords, too, beside the published class's name."""
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
