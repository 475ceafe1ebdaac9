"""Fold batch norm into the convolutions before it: the same outputs at inference, with fewer operations."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.fx import Tracer

from pose_core.models.network import UntracedBlock

Convolution = nn.Conv2d | nn.ConvTranspose2d


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Return a copy of a network for inference, in evaluation mode, with batch norms folded into convolutions.

    Batch norm at evaluation is y = s·x + t per channel, with s = γ / √(variance + ε) and t = β − s·mean; scaling a
    convolution's weights scales its output. A batch norm that follows anything else stays. Keys of the
    state dict change: load weights before folding.
    """
    folded = deepcopy(model).eval()
    for conv_name, norm_name in _pairs(folded):
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, Convolution)
        assert isinstance(norm, nn.BatchNorm2d)
        _absorb(conv, norm)
        parent, _, child = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), child, nn.Identity())
    return folded


class _Tracer(Tracer):
    """A tracer that does not enter blocks whose computation depends on their input's shape."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UntracedBlock) or super().is_leaf_module(m, module_qualified_name)


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Return the names of convolutions whose only consumer is a batch norm, each with that batch norm's name."""
    graph = _Tracer().trace(model)
    modules = dict(model.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    # A module that runs twice in one pass has two consumers or two inputs: it is not folded.
    targets = [node.target for node in calls]
    found = []
    for node in calls:
        before = node.args[0]
        if (
            isinstance(modules[node.target], nn.BatchNorm2d)
            and isinstance(before, torch.fx.Node)
            and before.op == "call_module"
            and isinstance(modules[str(before.target)], Convolution)
            and len(before.users) == 1
            and targets.count(node.target) == targets.count(before.target) == 1
        ):
            found.append((str(before.target), str(node.target)))
    return found


@torch.no_grad()
def _absorb(conv: Convolution, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    if isinstance(conv, nn.ConvTranspose2d):
        # (in, out / groups, k, k): each group's inputs connect to that group's outputs.
        inputs, outputs, *kernel = conv.weight.shape
        grouped = conv.weight.reshape(conv.groups, inputs // conv.groups, outputs, *kernel)
        weight = (grouped * scale.reshape(conv.groups, 1, outputs, 1, 1)).reshape(conv.weight.shape)
    else:
        weight = conv.weight * scale.reshape(-1, 1, 1, 1)
    bias = norm.bias - mean * scale
    if conv.bias is not None:
        bias = bias + conv.bias * scale
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
