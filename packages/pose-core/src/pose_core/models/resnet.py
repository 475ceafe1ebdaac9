"""ResNet backbones of 18 to 152 layers, with a stage's stride on the 3×3 convolution (PyTorch) or the 1×1 (caffe)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pose_core.errors import ConfigError
from pose_core.models.network import PoseNetwork

Style = Literal["pytorch", "caffe"]

DEPTHS: dict[int, tuple[bool, tuple[int, int, int, int]]] = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
"""Depth → (blocks are bottlenecks, blocks of each stage)."""


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3×3 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1, style: Style = "pytorch") -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, to four times the planes, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1, style: Style = "pytorch") -> None:
        super().__init__()
        first, second = (stride, 1) if style == "caffe" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, planes, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, second)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, planes * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a shortcut, or None if the shape does not change."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNetBackbone(PoseNetwork):
    """The convolutional part of a ResNet, in torchvision's names; ``width`` is the first stage's planes.

    Subclasses add a head, and a ``forward`` that starts from `stages`.
    """

    divisor = 32

    def __init__(self, depth: int, style: Style = "pytorch", width: int = 64) -> None:
        super().__init__()
        is_deep, counts = block_counts(depth, style)
        self.style = style
        block = Bottleneck if is_deep else BasicBlock
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        self.widths = tuple(width * 2**stage * block.expansion for stage in range(4))
        for stage, count in enumerate(counts):
            planes = width * 2**stage
            layers: list[nn.Module] = []
            for index in range(count):
                layers.append(block(inputs, planes, 2 if stage and not index else 1, style))
                inputs = planes * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the outputs of the four stages, at strides 4, 8, 16 and 32, for images ``(N, 3, H, W)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for stage in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
            outputs.append(x)
        first, second, third, fourth = outputs
        return first, second, third, fourth


def block_counts(depth: int, style: Style) -> tuple[bool, tuple[int, int, int, int]]:
    """Return whether the blocks are bottlenecks, and the blocks of each stage; raise ConfigError for unknown depths."""
    if depth not in DEPTHS:
        raise ConfigError(f"ResNet depth {depth} is not supported; choose one of {', '.join(map(str, DEPTHS))}")
    is_deep, counts = DEPTHS[depth]
    if style == "caffe" and not is_deep:
        raise ConfigError(f"the caffe style moves a bottleneck's stride, and ResNet-{depth} has no bottlenecks")
    return is_deep, counts
