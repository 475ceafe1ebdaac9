"""The network of associative embedding (Newell, Huang and Deng, 2017): hourglasses of plain 3×3 convolutions.

Each level is wider than the one above. The original code and its successor name the layers of the same network
differently; files of both load, and ``original`` says which names are written back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from pose_core.errors import ConfigError
from pose_core.models.network import PoseNetwork
from pose_core.models.zoo import Generation


class Unit(nn.Module):
    """A convolution with bias, then optionally ReLU, then batch norm in a variant of the original code."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, bn: bool = False, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        self.bn = nn.BatchNorm2d(outputs) if bn else None
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.relu:
            x = functional.relu(x)
        return x if self.bn is None else self.bn(x)


class Hourglass(nn.Module):
    """Downsampling by 2, ``depth`` times, and back; each level has ``increase`` channels more."""

    def __init__(self, depth: int, channels: int, increase: int, bn: bool) -> None:
        super().__init__()
        wider = channels + increase
        self.up1 = Unit(channels, channels, bn=bn)
        self.low1 = Unit(channels, wider, bn=bn)
        self.low2 = Hourglass(depth - 1, wider, increase, bn) if depth > 1 else Unit(wider, wider, bn=bn)
        self.low3 = Unit(wider, channels)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low3(self.low2(self.low1(functional.max_pool2d(x, 2))))
        return self.up1(x) + functional.interpolate(low, scale_factor=2)


class HourglassAE(PoseNetwork):
    """Images ``(N, 3, H, W)`` → a tuple of maps ``(N, outputs, H/4, W/4)``, first stack first.

    With K joints the first K channels are heatmaps and the next K their tags. The published networks have 2·K more
    channels, which no loss uses but the next stack takes as input, so their checkpoints need them.
    """

    def __init__(
        self,
        outputs: int = 68,
        stacks: int = 4,
        channels: int = 256,
        *,
        increase: int = 128,
        depth: int = 4,
        bn: bool = False,
        original: bool = False,
    ) -> None:
        super().__init__()
        self.original = original or bn
        if min(stacks, depth, channels) < 1 or increase < 0:
            raise ConfigError(
                f"an embedding hourglass needs at least one stack, level and channel; got stacks={stacks}, "
                f"depth={depth}, channels={channels}, increase={increase}"
            )
        self.divisor = 4 * 2**depth
        self.head = nn.Sequential(
            Unit(3, 64, 7, 2, bn=bn),
            Unit(64, 128, bn=bn),
            nn.MaxPool2d(2),
            Unit(128, 128, bn=bn),
            Unit(128, channels, bn=bn),
        )
        self.features = nn.ModuleList(
            nn.Sequential(Hourglass(depth, channels, increase, bn), Unit(channels, channels), Unit(channels, channels))
            for _ in range(stacks)
        )
        self.outs = nn.ModuleList(Unit(channels, outputs, 1, relu=False) for _ in range(stacks))
        self.merge_features = nn.ModuleList(Unit(channels, channels, 1, relu=False) for _ in range(stacks - 1))
        self.merge_preds = nn.ModuleList(Unit(outputs, channels, 1, relu=False) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.head(x)
        found = []
        for stack, (features, out) in enumerate(zip(self.features, self.outs, strict=True)):
            feature = features(x)
            prediction = out(feature)
            found.append(prediction)
            if stack < len(self.merge_preds):
                x = x + self.merge_preds[stack](prediction) + self.merge_features[stack](feature)
        return tuple(found)

    def published_names(self, key: str) -> tuple[str, ...]:
        original, successor = _rename(key, _ORIGINAL), _rename(key, _SUCCESSOR)
        return (original, successor) if self.original else (successor, original)

    @staticmethod
    def from_zoo(state: Mapping[str, Tensor], generation: Generation) -> dict[str, Tensor]:
        """Return entries of the open-mmlab zoo in our names, its batch norms folded into the convolutions before them.

        The outputs are equal in evaluation; training goes on without batch norm.
        """
        units = {key.removesuffix(".conv.weight") for key in state if key.endswith(".conv.weight")}
        units = {unit for unit in units if all(f"{unit}.bn.{name}" in state for name in _NORM)}
        entries = {key: value for key, value in state.items() if not key.startswith(tuple(f"{u}.bn." for u in units))}
        for unit in units:
            weight, bias, mean, variance = (state[f"{unit}.bn.{name}"] for name in _NORM)
            gain = weight / (variance + 1e-5).sqrt()
            entries[f"{unit}.conv.weight"] = state[f"{unit}.conv.weight"] * gain[:, None, None, None]
            entries[f"{unit}.conv.bias"] = bias - mean * gain
        return {_rename(key, _ZOO): value for key, value in entries.items()}


_NORM = ("weight", "bias", "running_mean", "running_var")
_ZOO = (
    (r"^stem\.", "head."),
    (r"^hourglass_modules\.", "features."),
    (r"^out_convs\.", "outs."),
    (r"^remap_out_convs\.", "merge_preds."),
    (r"^remap_feature_convs\.", "merge_features."),
)
"""Names of the open-mmlab zoo → ours."""
_ORIGINAL = (
    (r"^head\.", "pre."),
    (r"^(merge_\w+\.\d+)\.conv\.", r"\1.conv.conv."),
)
"""Our names → those of the original code."""
_SUCCESSOR = (
    (r"^head\.0\.conv\.", "head.0."),
    (r"^head\.1\.conv\.", "head.2."),
    (r"^head\.3\.conv\.", "head.5."),
    (r"^head\.4\.conv\.", "head.7."),
    (r"^(features\.\d+\.0\..*)\.conv\.", r"\1.0.0."),
    (r"^(features\.\d+)\.1\.conv\.", r"\1.1."),
    (r"^(features\.\d+)\.2\.conv\.", r"\1.3."),
    (r"^(outs\.\d+)\.conv\.", r"\1."),
)
"""Our names → those of its successor."""


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, name in names:
        renamed = re.sub(pattern, name, key)
        if renamed != key:
            return renamed
    return key
