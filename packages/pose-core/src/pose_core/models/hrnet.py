"""HRNet: parallel branches of several resolutions, fused repeatedly (Sun et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from pose_core.models.heads import final_conv
from pose_core.models.network import PoseNetwork
from pose_core.models.resnet import BasicBlock, Bottleneck


@dataclass(frozen=True)
class StageSpec:
    """A stage: ``modules`` fusion modules, each with ``blocks`` basic blocks on every branch; ``widths`` per branch."""

    modules: int
    blocks: int
    widths: tuple[int, ...]


@dataclass(frozen=True)
class HRNetSpec:
    """The settings that distinguish one HRNet from another."""

    stages: tuple[StageSpec, StageSpec, StageSpec]
    layer1_planes: int = 64
    layer1_blocks: int = 4


def _spec(width: int, modules: tuple[int, int, int], blocks: int, layer1_planes: int = 64) -> HRNetSpec:
    widths = tuple(width * 2**branch for branch in range(4))
    first, second, third = (StageSpec(m, blocks, widths[: i + 2]) for i, m in enumerate(modules))
    return HRNetSpec((first, second, third), layer1_planes)


HRNETS: dict[str, HRNetSpec] = {
    # The published row of w18_small_v1 (1.3M, 0.68G) has 32 planes in layer1; the published code builds 64.
    "hrnet_w18_small_v1": _spec(16, (1, 1, 1), 2, layer1_planes=32),
    "hrnet_w18_small_v1_4x64": _spec(16, (1, 1, 1), 2),
    "hrnet_w18_small_v2": _spec(18, (1, 3, 2), 2),
    "hrnet_w32": _spec(32, (1, 4, 3), 4),
    "hrnet_w48": _spec(48, (1, 4, 3), 4),
}


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool) -> nn.Sequential:
    """Return a convolution without bias, batch norm and, with ``relu``, ReLU."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class FusionModule(nn.Module):
    """Basic blocks on every branch, then every output branch is the sum of all, brought to its resolution."""

    def __init__(self, spec: StageSpec, outputs: int) -> None:
        super().__init__()
        widths = spec.widths
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(spec.blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        fused = []
        for exchange in self.fuse_layers:
            first, *others = exchange.children()
            total = first(xs[0])
            for layer, x in zip(others, xs[1:], strict=True):
                total = total + layer(x)
            fused.append(self.relu(total))
        return fused


def _exchange(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
    """Return the layers from one branch's resolution to another's."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[target], 1, bias=False),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = target - source
    return nn.Sequential(
        *(
            conv_bn(widths[source], widths[target] if last else widths[source], 3, 2, relu=not last)
            for last in (step == steps - 1 for step in range(steps))
        )
    )


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """Return layers that adapt the width of kept branches; each new branch halves the last one's resolution."""
    kept = [
        nn.Identity() if old == new else conv_bn(old, new, 3, relu=True)
        for old, new in zip(before, after, strict=False)
    ]
    added = []
    for index, width in enumerate(after[len(before) :]):
        links = [conv_bn(before[-1], before[-1], 3, 2, relu=True) for _ in range(index)]
        added.append(nn.Sequential(*links, conv_bn(before[-1], width, 3, 2, relu=True)))
    return nn.ModuleList([*kept, *added])


class HRNetBackbone(PoseNetwork):
    """Images ``(N, 3, H, W)`` → the last stage's branches, at strides 4, 8, 16, 32 (only the first by default).

    ``all_branches`` keeps the last module's fusion to every resolution, as bottom-up methods need it.
    """

    divisor = 32

    def __init__(self, spec: HRNetSpec, *, all_branches: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        width = spec.layer1_planes * Bottleneck.expansion
        self.layer1 = nn.Sequential(
            *(Bottleneck(width if index else 64, spec.layer1_planes) for index in range(spec.layer1_blocks))
        )
        before: tuple[int, ...] = (width,)
        for number, stage in enumerate(spec.stages, 2):
            is_last = number == 4
            self.add_module(f"transition{number - 1}", _transition(before, stage.widths))
            modules = [FusionModule(stage, len(stage.widths)) for _ in range(stage.modules)]
            if is_last and not all_branches:
                modules[-1] = FusionModule(stage, 1)
            self.add_module(f"stage{number}", nn.Sequential(*modules))
            before = stage.widths

    def branches(self, x: Tensor) -> list[Tensor]:
        """Return the branches after the last stage."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        xs = [self.layer1(x)]
        for number in (2, 3, 4):
            transition = getattr(self, f"transition{number - 1}")
            # A new branch starts from the lowest resolution so far.
            xs = getattr(self, f"stage{number}")(
                [layer(xs[min(branch, len(xs) - 1)]) for branch, layer in enumerate(transition)]
            )
        return xs


class HRNet(HRNetBackbone):
    """Images ``(N, 3, H, W)`` → heatmaps ``(N, K, H/4, W/4)``; H and W are multiples of 32."""

    def __init__(self, spec: HRNetSpec, num_joints: int) -> None:
        super().__init__(spec)
        self.final_layer = final_conv(spec.stages[-1].widths[0], num_joints)

    def forward(self, x: Tensor) -> Tensor:
        return self.final_layer(self.branches(x)[0])


def hrnet(num_joints: int = 17, *, name: str = "hrnet_w32", maps: int = 1) -> HRNet:
    """Return an HRNet of the stage table with ``maps`` outputs per joint: 3 are a heatmap and offsets in x and y."""
    return HRNet(HRNETS[name], maps * num_joints)
