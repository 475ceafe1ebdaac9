"""SimpleBaseline: a ResNet, three transposed convolutions, one heatmap per joint (Xiao, Wu and Wei, 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from pose_core.models.heads import final_conv, up_unit
from pose_core.models.resnet import ResNetBackbone, Style


class SimpleBaseline(ResNetBackbone):
    """Images ``(N, 3, H, W)`` → heatmaps ``(N, K, H/4, W/4)``; H and W are multiples of 32."""

    def __init__(
        self,
        depth: int,
        num_joints: int,
        style: Style = "pytorch",
        filters: tuple[int, ...] = (256, 256, 256),
        width: int = 64,
    ) -> None:
        super().__init__(depth, style, width)
        layers: list[nn.Module] = []
        inputs = self.widths[-1]
        for outputs in filters:
            layers += up_unit(inputs, outputs)
            inputs = outputs
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = final_conv(inputs, num_joints)

    def forward(self, x: Tensor) -> Tensor:
        return self.final_layer(self.deconv_layers(self.stages(x)[-1]))


def simplebaseline(
    num_joints: int = 17,
    *,
    depth: int = 50,
    style: Style = "pytorch",
    filters: tuple[int, ...] = (256, 256, 256),
    width: int = 64,
) -> SimpleBaseline:
    """Return SimpleBaseline on a ResNet of 18, 34, 50, 101 or 152 layers; ``filters`` and ``width`` make it lighter."""
    return SimpleBaseline(depth, num_joints, style, tuple(filters), width)
