"""Initialize weights before training: the published scheme, and backbones from ImageNet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from pose_core.errors import WeightsError
from pose_core.models.hrnet import HRNetBackbone
from pose_core.models.network import InitializedLayer, to_own_names
from pose_core.models.weights import LoadReport, load_weights, network_state, read_checkpoint, style_warning
from pose_core.models.zoo import zoo_generation

PUBLISHED_STD = 0.001


def initialize(model: nn.Module, *, backbone_follows: bool = False) -> None:
    """Initialize by the published scheme: convolution weights N(0, 0.001²), batch norm 1 and 0.

    HRNet sets convolution biases to zero. ResNet and LPN leave them at PyTorch's default, unless a pretrained backbone
    is loaded next (``backbone_follows``): then the head's are zero too.
    """
    zero_bias = backbone_follows or isinstance(model, HRNetBackbone)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=PUBLISHED_STD)
            if module.bias is not None and zero_bias:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        # Layers with another initialization, such as predictors of offsets, which start at zero.
        if isinstance(module, InitializedLayer):
            module.initialize_published()


def load_backbone(model: nn.Module, path: str | Path, layers: Sequence[str] | None = None) -> LoadReport:
    """Load an ImageNet file into a network's backbone: entries of the same name and shape, in ``layers`` if given.

    A file of which nothing fits, of other widths, or with more blocks than the network raises WeightsError. A last
    layer for other joints is not loaded. The report's ``missing`` are entries of layers that the file fills in part.
    """
    state = network_state(read_checkpoint(path), str(path))
    if zoo_generation(state) is not None:
        state = to_own_names(model, state)
    if layers is not None:
        state = {key: value for key, value in state.items() if key.split(".")[0] in layers}
    own = model.state_dict()
    head = {key for key in state if key.startswith("final_layer.") and key in own}
    if any(state[key].shape != own[key].shape for key in head):
        state = {key: value for key, value in state.items() if key not in head}
    shared = {_layer(key) for key in state if key in own}
    blocks = {_block(key) for key in own}
    surplus = [key for key in state if _layer(key) in shared and _block(key) not in blocks]
    misshaped = [key for key in state if key in own and state[key].shape != own[key].shape]
    if surplus or misshaped or not shared:
        why = f"it fits up to {surplus[0]}, which the network does not have" if surplus else "no layer has its name"
        if misshaped:
            key = misshaped[0]
            why = f"{key} is {tuple(state[key].shape)} in the file and {tuple(own[key].shape)} in the network"
        raise WeightsError(f"{path} does not fit this network's backbone: {why}; see model.name and model.pretrained")
    report = load_weights(model, state, strict=False)
    partial = tuple(key for key in report.missing if _layer(key) in shared)
    return LoadReport(str(path), report.loaded, partial, report.unexpected, warning=style_warning(model, str(path)))


def _layer(key: str) -> str:
    return key.split(".")[0]


def _block(key: str) -> tuple[str, ...]:
    return tuple(key.split(".")[:2])
