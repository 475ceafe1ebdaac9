"""Four networks that use several resolutions of a ResNet (Tran, Nguyen and Bui, 2020).

SimpleBaseline upsamples only the last stage, by three transposed convolutions. The heat networks predict heatmaps after
each of them and add these up; the feature networks upsample all four stages to stride 4 and average them. The two
versions of each differ in one switch: ``apart`` of `MRHeatNet`, ``halving`` of `MRFeaNet`.
"""

from __future__ import annotations

from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.heads import doubling, final_conv, up_unit
from pose_core.models.resnet import ResNetBackbone, Style


class MRHeatNet(ResNetBackbone):
    """Images ``(N, 3, H, W)`` → heatmaps ``(N, K, H/4, W/4)``, a sum over strides 16, 8 and 4.

    ``apart`` (MRHeatNet2) upsamples each lower resolution separately; otherwise (MRHeatNet1) the heatmaps of stride 16
    are added to those of stride 8, and their sum is upsampled.
    """

    def __init__(
        self,
        depth: int,
        num_joints: int,
        *,
        apart: bool,
        style: Style = "pytorch",
        filters: tuple[int, int, int] = (256, 256, 256),
        width: int = 64,
    ) -> None:
        super().__init__(depth, style, width)
        first, second, third = filters
        self.deconv1 = nn.Sequential(*up_unit(self.widths[3], first))
        self.deconv2 = nn.Sequential(*up_unit(first, second))
        self.deconv3 = nn.Sequential(*up_unit(second, third))
        self.s_conv1 = _squeeze(first, num_joints)
        self.s_deconv1 = nn.Sequential(*up_unit(num_joints, num_joints))
        self.s_deconv12 = doubling(num_joints, num_joints) if apart else None
        self.s_conv2 = _squeeze(second, num_joints)
        self.s_deconv2 = doubling(num_joints, num_joints)
        self.final_layer = final_conv(third, num_joints)

    def forward(self, x: Tensor) -> Tensor:
        at_16 = self.deconv1(self.stages(x)[3])
        at_8 = self.deconv2(at_16)
        low = self.s_deconv1(self.s_conv1(at_16))
        middle = self.s_conv2(at_8)
        high = self.final_layer(self.deconv3(at_8))
        if self.s_deconv12 is None:
            return high + self.s_deconv2(middle + low)
        return high + self.s_deconv2(middle) + self.s_deconv12(low)


def _squeeze(inputs: int, num_joints: int) -> nn.Sequential:
    """Return layers that predict heatmaps of a low resolution; their ReLU clips negative evidence, as published."""
    return nn.Sequential(final_conv(inputs, num_joints), nn.BatchNorm2d(num_joints), nn.ReLU(inplace=True))


class MRFeaNet(ResNetBackbone):
    """Images ``(N, 3, H, W)`` → heatmaps ``(N, K, H/4, W/4)`` from the mean of four stages upsampled to stride 4.

    The mean has the first stage's channels: 256 with bottlenecks, ``width`` with basic blocks. ``halving`` (MRFeaNet2)
    halves the channels at every upsampling step; otherwise (MRFeaNet1) the first step reduces them to that number.
    """

    def __init__(
        self, depth: int, num_joints: int, *, halving: bool, style: Style = "pytorch", width: int = 64
    ) -> None:
        super().__init__(depth, style, width)
        c1, c2, c3, c4 = self.widths
        to_8, to_16 = (c2, c3) if halving else (c1, c1)
        self.deconv11 = nn.Sequential(*up_unit(c4, to_16))
        self.deconv12 = nn.Sequential(*up_unit(to_16, to_8))
        self.deconv21 = nn.Sequential(*up_unit(c3, to_8))
        self.deconv13 = nn.Sequential(*up_unit(to_8, c1))
        self.deconv22 = nn.Sequential(*up_unit(to_8, c1))
        self.deconv3 = nn.Sequential(*up_unit(c2, c1))
        self.final_layer = final_conv(c1, num_joints)

    def forward(self, x: Tensor) -> Tensor:
        s1, s2, s3, s4 = self.stages(x)
        third = self.deconv22(self.deconv21(s3))
        fourth = self.deconv13(self.deconv12(self.deconv11(s4)))
        return self.final_layer((s1 + self.deconv3(s2) + third + fourth) / 4)


def mrheat(
    num_joints: int = 17,
    *,
    version: int = 1,
    depth: int = 50,
    style: Style = "pytorch",
    filters: tuple[int, int, int] = (256, 256, 256),
    width: int = 64,
) -> MRHeatNet:
    """Return MRHeatNet 1 or 2; ``filters`` (of its deconvolutions) and ``width`` (of its backbone) set its size."""
    if len(filters) != 3:
        raise ConfigError(f"filters={list(filters)}: a heat network has three deconvolutions; give three numbers")
    first, second, third = filters
    return MRHeatNet(depth, num_joints, apart=version == 2, style=style, filters=(first, second, third), width=width)


def mrfea(
    num_joints: int = 17, *, version: int = 1, depth: int = 50, style: Style = "pytorch", width: int = 64
) -> MRFeaNet:
    """Return MRFeaNet 1 or 2; ``width`` (of its backbone) sets its size."""
    return MRFeaNet(depth, num_joints, halving=version == 2, style=style, width=width)
