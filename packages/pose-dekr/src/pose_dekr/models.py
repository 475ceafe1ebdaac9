"""Bottom-Up HRNet, its higher-resolution variant, and DEKR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pose_core.errors import ConfigError, WeightsError
from pose_core.models.deform_conv import DeformConv
from pose_core.models.hrnet import HRNetBackbone, HRNetSpec, StageSpec
from pose_core.models.resnet import BasicBlock
from pose_core.models.zoo import Generation
from pose_core.ops.deformable import check_path
from pose_dekr.blocks import AdaptiveBlock, TransformerBlock

REGRESSION_WIDTH = 256
CHANNELS_PER_JOINT = 15
Network = TypeVar("Network", bound=nn.Module)
DILATIONS = (1, 2, 3)
SHARED = ("transform_matrix_conv1", "stn_conv1", "transform_matrix_conv2", "stn_conv2")


class Maps(NamedTuple):
    """Maps ``heatmaps`` ``(N, K+1, H/4, W/4)``, the center last; ``offsets`` ``(N, 2·K, H/4, W/4)``, x0, y0, x1, …."""

    heatmaps: Tensor
    offsets: Tensor


class HigherMaps(NamedTuple):
    """Three heatmaps ``(N, K+1, H/4, W/4)`` by dilation, a fine one ``(N, K, H/2, W/2)``, and the offsets."""

    heatmaps_1: Tensor
    heatmaps_2: Tensor
    heatmaps_3: Tensor
    fine: Tensor
    offsets: Tensor


def hrnet_spec(width: int, blocks: int = 4, modules: tuple[int, int, int] = (1, 4, 3)) -> HRNetSpec:
    """Return the specification of an HRNet of a width; fewer blocks and modules than published make a small one."""
    if width < 1 or blocks < 1 or len(modules) != 3 or min(modules) < 1:
        raise ConfigError(
            f"an HRNet needs a width, blocks and three numbers of modules, not {width}, {blocks}, {modules}"
        )
    widths = tuple(width * 2**branch for branch in range(4))
    first, second, third = (StageSpec(count, blocks, widths[: i + 2]) for i, count in enumerate(modules))
    return HRNetSpec((first, second, third))


def conv1x1(inputs: int, outputs: int, *, momentum: float = 0.1) -> nn.Sequential:
    """Build a 1×1 convolution without bias, batch norm and ReLU."""
    norm = nn.BatchNorm2d(outputs, momentum=momentum)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), norm, nn.ReLU())


class BottomUpBackbone(HRNetBackbone):
    """An HRNet whose branches are resized to the finest one and concatenated."""

    divisor = 64

    def __init__(self, spec: HRNetSpec) -> None:
        super().__init__(spec, all_branches=True)
        self.width = spec.stages[-1].widths[0]
        self.features_width = sum(spec.stages[-1].widths)

    def features(self, x: Tensor) -> Tensor:
        """Return features ``(N, 15·width, H/4, W/4)`` of images ``(N, 3, H, W)``."""
        first, *others = self.branches(x)
        size = first.shape[2:]
        return torch.cat([first, *(F.interpolate(b, size=size, mode="bilinear") for b in others)], 1)


class BottomUpHRNet(BottomUpBackbone):
    """Heatmaps by three branches of different dilation with shared weights, and offsets regressed with their help.

    ``forward`` returns `Maps`, or `HigherMaps` if ``higher``.

    For each of the three branches, the published code runs ``transition_cls`` anew, on the same input; only the
    higher-resolution network runs it once. With ``compat`` its batch norm's running statistics move as often.
    """

    def __init__(
        self,
        num_joints: int,
        spec: HRNetSpec,
        *,
        higher: bool = False,
        regression: int = REGRESSION_WIDTH,
        compat: bool = False,
    ) -> None:
        super().__init__(spec)
        self.num_joints = num_joints
        self.higher = higher
        self.updates = len(DILATIONS) if compat and not higher else 1
        width = self.width
        # Steps of 0.1 toward the statistics of one batch add up to a longer one.
        momentum = 0.1 if self.updates == 1 else 1 - 0.9**self.updates
        self.transition_cls = conv1x1(self.features_width, width, momentum=momentum)
        self.transition_reg = conv1x1(self.features_width + num_joints, regression)
        self.multi_level_layers_4x_heatmap = nn.ModuleList(
            nn.Sequential(TransformerBlock(width, dilation)) for dilation in DILATIONS
        )
        self.multi_level_layers_4x_regression = nn.ModuleList([nn.Sequential(TransformerBlock(regression))])
        first, *others = (branch[0] for branch in self.multi_level_layers_4x_heatmap)  # type: ignore[index]
        for block in others:
            block.share(first)
        finals = [nn.Conv2d(width, num_joints, 1), nn.Conv2d(regression, 2 * num_joints + 1, 1)]
        if higher:
            up = nn.ConvTranspose2d(width + num_joints, width, 4, 2, 1, bias=False)
            self.deconv_layers = nn.ModuleList(
                [
                    nn.Sequential(
                        nn.Sequential(up, nn.BatchNorm2d(width), nn.ReLU()), nn.Sequential(BasicBlock(width, width))
                    )
                ]
            )
            finals.append(nn.Conv2d(width, num_joints, 1))
        self.final_layers = nn.ModuleList(finals)

    def forward(self, x: Tensor) -> Maps | HigherMaps:
        x = self.features(x)
        z = self.transition_cls(x)
        if self.training and self.updates > 1:
            tracked = self.transition_cls[1].num_batches_tracked
            assert isinstance(tracked, Tensor)
            tracked += self.updates - 1
        levels = [self.final_layers[0](branch(z)) for branch in self.multi_level_layers_4x_heatmap]
        mean = torch.stack(levels).mean(0)
        y = self.transition_reg(torch.cat([x, mean], 1))
        y = self.final_layers[1](self.multi_level_layers_4x_regression[0](y))
        offsets, center = y[:, :-1], y[:, -1:]
        if not self.higher:
            return Maps(torch.cat([mean, center], 1), offsets)
        fine = self.final_layers[2](self.deconv_layers[0](torch.cat([z, mean], 1)))
        first, second, third = (torch.cat([level, center], 1) for level in levels)
        return HigherMaps(first, second, third, fine, offsets)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Check that the three copies of the shared weights are equal, as one parameter stores them here."""
        for name in SHARED:
            keys = [f"multi_level_layers_4x_heatmap.{branch}.0.{name}.weight" for branch in range(len(DILATIONS))]
            copies = [state[key] for key in keys if key in state]
            if any(copy.shape != copies[0].shape or not torch.equal(copy, copies[0]) for copy in copies[1:]):
                raise WeightsError(
                    f"{keys[0]} differs from its copies in the other dilations, but the network shares them: "
                    "the file is not a published Bottom-Up checkpoint; make the three copies equal"
                )
        return dict(state)


class DEKR(BottomUpBackbone):
    """Heatmaps, and offsets of each joint from a branch of its own; the branches run as groups of one convolution."""

    def __init__(self, num_joints: int, spec: HRNetSpec) -> None:
        super().__init__(spec)
        self.num_joints = num_joints
        width, channels = self.width, CHANNELS_PER_JOINT * num_joints
        self.transition_heatmap = conv1x1(self.features_width, width)
        self.head_heatmap = nn.Sequential(nn.Sequential(BasicBlock(width, width)), nn.Conv2d(width, num_joints + 1, 1))
        self.transition_offset = conv1x1(self.features_width, channels)
        self.offset_feature_layers = nn.Sequential(*(AdaptiveBlock(channels, num_joints) for _ in range(2)))
        self.offset_final_layer = nn.Conv2d(channels, 2 * num_joints, 1, groups=num_joints)

    def forward(self, x: Tensor) -> Maps:
        x = self.features(x)
        heatmaps = self.head_heatmap(self.transition_heatmap(x))
        offsets = self.offset_final_layer(self.offset_feature_layers(self.transition_offset(x)))
        return Maps(heatmaps, offsets)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stack the published branches, ``offset_feature_layers.<joint>.<block>.…``, into groups; keep ours as is."""
        joints = sum(1 for key in state if re.fullmatch(r"offset_final_layer\.\d+\.weight", key))
        if not joints:
            return dict(state)
        converted = {}
        for key, value in state.items():
            match = re.fullmatch(r"(offset_feature_layers|offset_final_layer)\.(\d+)\.(.+)", key)
            if match is None:
                converted[key] = value
            elif match[2] == "0":
                name = f"{match[1]}.{match[3]}"
                copies = [state.get(f"{match[1]}.{joint}.{match[3]}") for joint in range(joints)]
                present = [copy for copy in copies if copy is not None]
                is_shared = name.endswith(("regular_matrix", "num_batches_tracked"))
                converted[name] = value if is_shared or len(present) < joints else torch.cat(present)
        return converted

    @staticmethod
    def from_zoo(state: Mapping[str, Tensor], generation: Generation) -> dict[str, Tensor]:
        """Return entries of the open-mmlab zoo in our names, see `zoo_entries`."""
        converted: dict[str, Tensor] = {}
        for key, value in state.items():
            converted |= zoo_entries(key, value, generation)
        return converted

    def to_published(self) -> dict[str, Tensor]:
        """Return the state dict with one branch per joint, as in the published files."""
        stacked = ("offset_feature_layers", "offset_final_layer")
        entries = self.state_dict()
        first = [key for key in entries if not key.startswith(("head_heatmap.", *stacked))]
        published = {key: entries[key] for key in first + [key for key in entries if key.startswith("head_heatmap.")]}
        for name in stacked:
            layers = self.get_submodule(name).state_dict()
            for joint in range(self.num_joints):
                for key, value in layers.items():
                    is_shared = key.endswith(("regular_matrix", "num_batches_tracked"))
                    part = value if is_shared else value.chunk(self.num_joints)[joint]
                    published[f"{name}.{joint}.{key}"] = part.clone()
        return published


def zoo_entries(key: str, value: Tensor, generation: Generation) -> dict[str, Tensor]:
    """Return the entries of ours that an entry of DEKR in the open-mmlab zoo becomes.

    There the center's heatmap is the first in files of mmpose 0.x, and a joint is at its place plus the offset in files
    of 1.x, where it is minus the offset here. One convolution predicts matrix and translation, and the matrix moves
    the taps by itself, not by its difference from the identity.
    """
    for pattern, ours in _ZOO_NAMES:
        key = re.sub(pattern, ours, key)
    if key.startswith("head_heatmap.1.") and generation == "mm0":
        return {key: torch.cat([value[1:], value[:1]])}
    if key.startswith("offset_final_layer.") and generation == "mm1":
        return {key: -value}
    if key.endswith(".regular_matrix"):
        return {key: value[:2]}
    if ".transform_matrix_conv." in key and len(value) % 6 == 0:
        rows = value.reshape(-1, 6, *value.shape[1:])
        matrices, translations = rows[:, [0, 1, 3, 4]], rows[:, [2, 5]]
        if key.endswith(".bias"):
            matrices = matrices + matrices.new_tensor([1, 0, 0, 1])
        moved = key.replace("transform_matrix_conv", "translation_conv")
        return {key: matrices.flatten(0, 1), moved: translations.flatten(0, 1)}
    return {key: value}


_ZOO_NAMES = (
    (r"^heatmap_conv_layers\.0\.conv\.", "transition_heatmap.0."),
    (r"^heatmap_conv_layers\.0\.bn\.", "transition_heatmap.1."),
    (r"^heatmap_conv_layers\.1\.", "head_heatmap.0.0."),
    (r"^heatmap_conv_layers\.2\.", "head_heatmap.1."),
    (r"^(displacement|offset)_conv_layers\.0\.conv\.", "transition_offset.0."),
    (r"^(displacement|offset)_conv_layers\.0\.bn\.", "transition_offset.1."),
    (r"^(displacement|offset)_conv_layers\.1\.", "offset_feature_layers.0."),
    (r"^(displacement|offset)_conv_layers\.2\.", "offset_feature_layers.1."),
    (r"^(displacement|offset)_conv_layers\.3\.", "offset_final_layer."),
    (r"^(offset_feature_layers\.\d)\.norm\.", r"\1.bn."),
)


def bottomup_hrnet(
    num_joints: int = 17,
    *,
    width: int = 32,
    blocks: int = 4,
    modules: tuple[int, int, int] = (1, 4, 3),
    higher: bool = False,
    regression: int = REGRESSION_WIDTH,
    compat: bool = False,
    deform: str = "auto",
) -> BottomUpHRNet:
    """Build Bottom-Up HRNet of a width; fewer ``blocks`` and ``modules`` and a narrower ``regression`` make it small.

    ``compat`` updates batch-norm statistics in training as the published code does, see `BottomUpHRNet`. ``deform`` as
    in `deform_by`.
    """
    spec = hrnet_spec(width, blocks, modules)
    network = BottomUpHRNet(num_joints, spec, higher=higher, regression=regression, compat=compat)
    return deform_by(network, deform)


def dekr_hrnet(
    num_joints: int = 17,
    *,
    width: int = 32,
    blocks: int = 4,
    modules: tuple[int, int, int] = (1, 4, 3),
    deform: str = "auto",
) -> DEKR:
    """Build DEKR of a width; fewer ``blocks`` and ``modules`` make it small. ``deform`` as in `deform_by`."""
    return deform_by(DEKR(num_joints, hrnet_spec(width, blocks, modules)), deform)


def deform_by(network: Network, path: str) -> Network:
    """Set the operator of the network's deformable convolutions: see `pose_core.ops.deform_conv`."""
    chosen = check_path(path)
    for layer in network.modules():
        if isinstance(layer, DeformConv):
            layer.path = chosen
    return network
