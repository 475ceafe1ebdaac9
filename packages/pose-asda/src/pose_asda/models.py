"""The hourglass of this method; HRNet and SimpleBaseline are the core's."""

from __future__ import annotations

from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.hourglass import StackedHourglass


def asda_hourglass(
    num_joints: int = 16, *, stacks: int = 2, modules: int = 1, channels: int = 256, depth: int = 4
) -> StackedHourglass:
    """Return a stacked hourglass that normalizes before each convolution, also of the image, as published."""
    return StackedHourglass(num_joints, stacks, modules, channels, depth, norm_first=True)


class Stage(nn.Module):
    """One output of a network of several stages: the last for ``back`` 0, the one before it for 1, and so on."""

    def __init__(self, network: nn.Module, back: int) -> None:
        super().__init__()
        self.network, self.back = network, back

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.network(x)
        stages = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        if self.back >= len(stages):
            raise ConfigError(f"--stages: the network has {len(stages)} stage(s), {self.back + 1} were requested")
        return stages[-1 - self.back]
