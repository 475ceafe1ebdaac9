"""Weights before training: the published scheme, and trunks from ImageNet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from pose_core.errors import WeightsError
from pose_core.models.hrnet import HRNetTrunk
from pose_core.models.weights import LoadReport, load_weights, network_state, read_checkpoint

PUBLISHED_STD = 0.001


def initialise(model: nn.Module) -> None:
    """The published scheme: convolution weights N(0, 0.001²), batch norm 1 and 0.

    HRNet sets convolution biases to zero; ResNet and LPN leave them at the framework's default.
    """
    _normal(model, zero_bias=isinstance(model, HRNetTrunk))


def _normal(model: nn.Module, *, zero_bias: bool) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=PUBLISHED_STD)
            if module.bias is not None and zero_bias:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def initialise_heads(heads: Sequence[nn.Module]) -> None:
    """The layers after a pretrained trunk: weights N(0, 0.001²), all biases zero, batch norm 1 and 0."""
    for head in heads:
        _normal(head, zero_bias=True)


def load_trunk(model: nn.Module, path: str | Path, layers: Sequence[str] | None = None) -> LoadReport:
    """Load an ImageNet file into a network's trunk: what has its name and shape, of the ``layers`` named.

    Refuses a file of which nothing fits, and one that fits in name but not in shape (another depth or width).
    """
    state = network_state(read_checkpoint(path), str(path))
    if layers is not None:
        state = {key: value for key, value in state.items() if key.split(".")[0] in layers}
    report = load_weights(model, state, strict=False)
    if report.mismatched or not report.loaded:
        raise WeightsError(f"{path} does not fit this network's trunk: {report}")
    return LoadReport(str(path), report.loaded, (), report.unexpected)
