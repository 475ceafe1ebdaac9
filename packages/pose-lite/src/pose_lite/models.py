"""LPN: a light ResNet-like backbone with depthwise convolutions and attention, and a grouped-deconvolution head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.heads import final_conv, grouped_up_unit
from pose_core.models.network import PoseNetwork
from pose_core.models.resnet import shortcut

Attention = Literal["GC", "SE", "none"]


@dataclass(frozen=True)
class LPNSpec:
    """Blocks per stage and their kind.

    ``channels_per_group`` applies to basic blocks: 1 is depthwise (lpn_18, lpn_34), 2 halves the groups ("h").
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    channels_per_group: int = 1


LPNS: dict[str, LPNSpec] = {
    "lpn_18": LPNSpec((2, 2, 2, 2), bottleneck=False),
    "lpn_18h": LPNSpec((2, 2, 2, 2), bottleneck=False, channels_per_group=2),
    "lpn_34": LPNSpec((3, 4, 6, 3), bottleneck=False),
    "lpn_34h": LPNSpec((3, 4, 6, 3), bottleneck=False, channels_per_group=2),
    "lpn_50": LPNSpec((3, 4, 6, 3)),
    "lpn_100": LPNSpec((3, 13, 30, 3)),
    "lpn_101": LPNSpec((3, 4, 23, 3)),
    "lpn_152": LPNSpec((3, 8, 36, 3)),
}
"""Name of an LPN → its blocks."""


def hidden_width(channels: int) -> int:
    """Return the hidden width of an attention module."""
    return max(channels // 16, 16)


def _bottleneck_mlp(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.LayerNorm([hidden, 1, 1]),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, channels, 1),
    )


class GlobalContext(nn.Module):
    """Global-context attention: a weighted mean over all positions, transformed and added to every position.

    ``multiply`` adds the gate of the general form, a sigmoid factor applied before the addition; LPN has none.
    """

    def __init__(self, channels: int, hidden: int | None = None, *, multiply: bool = False) -> None:
        super().__init__()
        hidden = hidden or hidden_width(channels)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = _bottleneck_mlp(channels, hidden)
        self.channel_mul_conv = _bottleneck_mlp(channels, hidden) if multiply else None
        nn.init.kaiming_normal_(self.conv_mask.weight, mode="fan_in")
        self.conv_mask.bias = nn.Parameter(torch.zeros(1))
        for branch in (self.channel_add_conv, self.channel_mul_conv):
            if branch is not None:
                for parameter in branch[3].parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.conv_mask(x).flatten(2).softmax(2)
        context = torch.bmm(x.flatten(2), mask.transpose(1, 2)).unsqueeze(3)
        if self.channel_mul_conv is not None:
            x = x * torch.sigmoid(self.channel_mul_conv(context))
        return x + self.channel_add_conv(context)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: scale each channel by a factor computed from the means over positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = hidden_width(channels)
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def build_attention(kind: Attention, channels: int) -> nn.Module | None:
    """Return an attention module, or None for "none"."""
    if kind not in get_args(Attention):
        raise ConfigError(f"attention {kind!r} does not exist; choose {', '.join(get_args(Attention))}")
    if kind == "GC":
        return GlobalContext(channels)
    return SqueezeExcite(channels) if kind == "SE" else None


class LightBottleneck(nn.Module):
    """Residual block of 1×1, depthwise 3×3 and 1×1 convolutions, without channel expansion."""

    def __init__(self, inputs: int, planes: int, stride: int, attention: Attention) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, groups=planes, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, planes, stride)
        self.att = build_attention(attention, planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(_attend(self.att, y) + (x if self.downsample is None else self.downsample(x)))


class LightBasic(nn.Module):
    """Residual block of two grouped 3×3 convolutions."""

    def __init__(self, inputs: int, planes: int, stride: int, attention: Attention, channels_per_group: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, groups=inputs // channels_per_group, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, groups=planes // channels_per_group, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, planes, stride)
        self.att = build_attention(attention, planes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(_attend(self.att, y) + (x if self.downsample is None else self.downsample(x)))


def _attend(attention: nn.Module | None, x: Tensor) -> Tensor:
    return x if attention is None else attention(x)


class LPN(PoseNetwork):
    """Images ``(N, 3, H, W)`` → heatmaps ``(N, K, H/4, W/4)``; H and W are multiples of 16."""

    divisor = 16

    def __init__(self, spec: LPNSpec, num_joints: int, attention: Attention = "GC") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, (count, stride) in enumerate(zip(spec.blocks, (1, 2, 2, 1), strict=True)):
            planes = 64 * 2**stage
            layers: list[nn.Module] = []
            for index in range(count):
                step = 1 if index else stride
                layers.append(
                    LightBottleneck(inputs, planes, step, attention)
                    if spec.bottleneck
                    else LightBasic(inputs, planes, step, attention, spec.channels_per_group)
                )
                inputs = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.deconv_layers = nn.Sequential(*grouped_up_unit(512, 256), *grouped_up_unit(256, 256))
        self.final_layer = final_conv(256, num_joints)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.final_layer(self.deconv_layers(x))


def lpn(num_joints: int = 17, *, name: str = "lpn_50", attention: Attention = "GC") -> LPN:
    """Return an LPN by its name in `LPNS`."""
    return LPN(LPNS[name], num_joints, attention)
