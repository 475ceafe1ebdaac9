"""Stacked hourglasses of pre-activation residuals (Newell, Yang and Deng, 2016), in the two published variants.

They differ only in the position of batch norm in the stem and before the heatmaps (``norm_first``), and in their layer
names.
"""

from __future__ import annotations

import re

from torch import Tensor, nn
from torch.nn import functional

from pose_core.errors import ConfigError
from pose_core.models.network import PoseNetwork


class Residual(nn.Module):
    """Three times batch norm, ReLU, convolution (1×1 to half the width, 3×3, 1×1), and a shortcut; no ReLU after it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, middle, 1)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1)
        self.conv_skip = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(functional.relu(self.bn1(x)))
        y = self.conv2(functional.relu(self.bn2(y)))
        y = self.conv3(functional.relu(self.bn3(y)))
        return y + (x if self.conv_skip is None else self.conv_skip(x))


class Hourglass(nn.Module):
    """Features downsampled by 2 ``depth`` times and upsampled again, with a skip branch at each size."""

    def __init__(self, depth: int, modules: int, channels: int) -> None:
        super().__init__()
        self.skip = _residuals(modules, channels)
        self.down = _residuals(modules, channels)
        self.inner = Hourglass(depth - 1, modules, channels) if depth > 1 else _residuals(modules, channels)
        self.up = _residuals(modules, channels)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(functional.max_pool2d(x, 2))))
        return self.skip(x) + functional.interpolate(low, scale_factor=2)


def _residuals(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels, channels) for _ in range(count)))


class NormConv(nn.Module):
    """A convolution with batch norm and ReLU, before it or after it."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, *, norm_first: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.bn = nn.BatchNorm2d(inputs if norm_first else outputs)
        self.norm_first = norm_first

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            return self.conv(functional.relu(self.bn(x)))
        return functional.relu(self.bn(self.conv(x)))


class HourglassStack(PoseNetwork):
    """A stem and the stacks after it; subclasses choose in ``forward`` which heatmaps to return.

    Images ``(N, inputs, H, W)`` become heatmaps ``(N, K, H/4, W/4)``. With ``full_resolution`` the stem keeps the side,
    and so do the heatmaps.
    """

    def __init__(
        self,
        num_joints: int,
        stacks: int = 2,
        modules: int = 1,
        channels: int = 256,
        depth: int = 4,
        *,
        inputs: int = 3,
        norm_first: bool = False,
        full_resolution: bool = False,
    ) -> None:
        super().__init__()
        if min(stacks, modules, depth) < 1 or channels < 2:
            raise ConfigError(
                f"a stacked hourglass needs at least one stack, module and level, and two channels; "
                f"got stacks={stacks}, modules={modules}, depth={depth}, channels={channels}"
            )
        self.divisor = 2**depth if full_resolution else 4 * 2**depth
        self.full_resolution = full_resolution
        kernel, stride, padding = (3, 1, 1) if full_resolution else (7, 2, 3)
        self.stem = NormConv(inputs, 64, kernel, stride, padding, norm_first=norm_first)
        self.res1 = Residual(64, 128)
        self.res2 = Residual(128, 128)
        self.res3 = Residual(128, channels)
        self.hourglasses = nn.ModuleList(Hourglass(depth, modules, channels) for _ in range(stacks))
        self.refine = nn.ModuleList(_residuals(modules, channels) for _ in range(stacks))
        self.features = nn.ModuleList(NormConv(channels, channels, norm_first=norm_first) for _ in range(stacks))
        self.heatmaps = nn.ModuleList(nn.Conv2d(channels, num_joints, 1) for _ in range(stacks))
        # The norm-first variant has two unused layers after its last stack: kept so that its files load, never run and
        # never trained.
        back = stacks if norm_first else stacks - 1
        self.features_back = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(back))
        self.heatmaps_back = nn.ModuleList(nn.Conv2d(num_joints, channels, 1) for _ in range(back))
        for layers in (self.features_back[stacks - 1 :], self.heatmaps_back[stacks - 1 :]):
            layers.requires_grad_(False)

    def stacks(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the heatmaps of every stack, first stack first."""
        x = self.res1(self.stem(x))
        if not self.full_resolution:
            x = functional.max_pool2d(x, 2)
        x = self.res3(self.res2(x))
        found = []
        for stack, hourglass in enumerate(self.hourglasses):
            y = self.features[stack](self.refine[stack](hourglass(x)))
            heatmaps = self.heatmaps[stack](y)
            found.append(heatmaps)
            if stack + 1 < len(self.hourglasses):
                x = x + self.features_back[stack](y) + self.heatmaps_back[stack](heatmaps)
        return tuple(found)

    def published_names(self, key: str) -> tuple[str, ...]:
        if self.stem.norm_first:
            return (f"hourglass.{_rename(key, _NORM_FIRST)}",)
        return (_rename(_flatten(key), _NORM_LAST),)

    def to_published(self) -> dict[str, Tensor]:
        published = super().to_published()
        parts = {key: key.split(".") for key in published}
        if self.stem.norm_first:  # batch norm is listed before its convolution
            blocks = {key: ".".join(names[:-2]) for key, names in parts.items()}
            ranks = {key: [int(names[-2] == "conv")] for key, names in parts.items()}
        else:  # an hourglass is listed level by level
            blocks = {key: names[0] for key, names in parts.items()}
            ranks = {key: [int(name) for name in names if name.isdigit()] for key, names in parts.items()}
        places = {block: place for place, block in enumerate(dict.fromkeys(blocks.values()))}
        return {key: published[key] for key in sorted(published, key=lambda key: (places[blocks[key]], ranks[key]))}


class StackedHourglass(HourglassStack):
    """Images ``(N, inputs, H, W)`` → a tuple of heatmaps ``(N, K, H/4, W/4)``, first stack first."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.stacks(x)


_NORM_FIRST = (
    (r"\.(bn|conv)(\d)\.", r".cb.cbr\2.\1."),
    (r"\.conv_skip\.", ".skip.conv."),
    (r"\.down\.", ".afterpool."),
    (r"\.up\.", ".lowres."),
    (r"\.inner\.(?=\d)", ".num1res."),
    (r"\.inner(?=\.)", ".hg"),
    (r"^stem\.", "start."),
    (r"^hourglasses\.", "hourglass."),
    (r"^refine\.", "Residual."),
    (r"^features\.", "lin1."),
    (r"^heatmaps\.", "chantojoints."),
    (r"^features_back\.", "lin2."),
    (r"^heatmaps_back\.", "jointstochan."),
)
"""Our names → those of the norm-first variant."""
_NORM_LAST = (
    (r"^stem\.conv\.", "conv1."),
    (r"^stem\.bn\.", "bn1."),
    (r"^refine\.", "res."),
    (r"^features\.(\d+)\.conv\.", r"fc.\1.0."),
    (r"^features\.(\d+)\.bn\.", r"fc.\1.1."),
    (r"^heatmaps\.", "score."),
    (r"^features_back\.", "fc_."),
    (r"^heatmaps_back\.", "score_."),
)
"""Our names → those of the other variant."""
_PLACES = ("skip", "down", "up", "inner")


def _rename(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in names:
        key = re.sub(pattern, ours, key)
    return key


def _flatten(key: str) -> str:
    """Convert a name in nested hourglasses to ``hg.stack.hg.level.place.module…``, a flat list of levels."""
    found = re.match(r"hourglasses\.(\d+)\.((?:inner\.)*)(skip|down|up|inner)\.(\d.*)", key)
    if not found:
        return key
    stack, outside, place, rest = found.groups()
    return f"hg.{stack}.hg.{outside.count('.')}.{_PLACES.index(place)}.{rest}"
