"""Associative embedding on HRNet and ResNet, and HigherHRNet, as the open-mmlab zoo has them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.heads import final_conv, up_unit
from pose_core.models.hrnet import HRNETS, HRNet, HRNetBackbone, HRNetSpec
from pose_core.models.resnet import BasicBlock
from pose_core.models.simplebaseline import SimpleBaseline

NO_LAYOUT = "associative embedding on HRNet and ResNet has no published layout: only the open-mmlab zoo has its weights"


class EmbeddingHRNet(HRNet):
    """Images ``(N, 3, H, W)`` → one map ``(N, 2·K, H/4, W/4)`` in a tuple: K heatmaps, then a tag of each joint."""

    def __init__(self, num_joints: int, spec: HRNetSpec) -> None:
        super().__init__(spec, 2 * num_joints)

    def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]  # as the hourglasses' tuple of stacks
        return (super().forward(x),)

    def to_published(self) -> dict[str, Tensor]:
        raise ConfigError(NO_LAYOUT)


class EmbeddingResNet(SimpleBaseline):
    """The same maps by SimpleBaseline."""

    def __init__(self, num_joints: int, depth: int) -> None:
        super().__init__(depth, 2 * num_joints)

    def forward(self, x: Tensor) -> tuple[Tensor]:  # type: ignore[override]  # as the hourglasses' tuple of stacks
        return (super().forward(x),)

    def to_published(self) -> dict[str, Tensor]:
        raise ConfigError(NO_LAYOUT)


class HigherMaps(NamedTuple):
    """``coarse`` ``(N, 2·K, H/4, W/4)``: heatmaps, then tags; ``fine`` ``(N, K, H/2, W/2)``: heatmaps."""

    coarse: Tensor
    fine: Tensor


class HigherHRNet(HRNetBackbone):
    """HRNet with heatmaps at two resolutions, and tags at the lower one (Cheng et al., 2020); returns `HigherMaps`."""

    def __init__(self, num_joints: int, spec: HRNetSpec) -> None:
        super().__init__(spec)
        width = spec.stages[-1].widths[0]
        up = nn.Sequential(*up_unit(width + 2 * num_joints, width))
        blocks = (nn.Sequential(BasicBlock(width, width)) for _ in range(4))
        self.final_layers = nn.ModuleList([final_conv(width, 2 * num_joints), final_conv(width, num_joints)])
        self.deconv_layers = nn.ModuleList([nn.Sequential(up, *blocks)])

    def forward(self, x: Tensor) -> HigherMaps:
        x = self.branches(x)[0]
        coarse = self.final_layers[0](x)
        return HigherMaps(coarse, self.final_layers[1](self.deconv_layers[0](torch.cat([x, coarse], 1))))


def embedding_hrnet(num_joints: int = 17, *, width: int = 32) -> EmbeddingHRNet:
    """Build associative embedding on an HRNet of width 32 or 48."""
    return EmbeddingHRNet(num_joints, HRNETS[f"hrnet_w{width}"])


def embedding_resnet(num_joints: int = 17, *, depth: int = 50) -> EmbeddingResNet:
    """Build associative embedding on SimpleBaseline with a ResNet of a depth."""
    return EmbeddingResNet(num_joints, depth)


def higher_hrnet(num_joints: int = 17, *, width: int = 32) -> HigherHRNet:
    """Build HigherHRNet of width 32 or 48."""
    return HigherHRNet(num_joints, HRNETS[f"hrnet_w{width}"])
