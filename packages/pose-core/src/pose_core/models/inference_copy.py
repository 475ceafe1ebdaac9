"""Optimize a copy of a network for inference: same outputs, less time."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.proxy import TraceError
from torch.utils._pytree import tree_map

from pose_core.models.fuse_batch_norm import fold_batch_norm

PART = 4
"""Images that a CPU computes at a time, per two threads: maps of more are slower to allocate than to fill."""


def optimize_for_inference(
    network: nn.Module, input_size: tuple[int, int], precision: torch.dtype | None = None, *, compiled: bool = False
) -> nn.Module:
    """Return a copy in evaluation mode, equal up to rounding: batch norm folded, channels last, weights packed (CPU).

    Weights are packed for ``input_size`` (w, h); other sizes and any batch work too. A network whose code depends on
    its input cannot be folded and keeps its batch norms. With a ``precision``, operators compute in that type
    (autocast), weights are not packed, and outputs are converted to float32: decoding counts pixels, and bfloat16
    cannot count beyond 256. A ``compiled`` copy uses torch.compile and, on a GPU, replays a CUDA graph for each batch
    size.
    """
    quick = folded_copy(network).to(memory_format=torch.channels_last)
    if compiled:
        quick = CudaGraphModule(torch.compile(quick, mode="reduce-overhead"))
    weight = next(quick.parameters(), None)
    if weight is not None and not compiled and weight.device.type == "cpu" and weight.dtype == torch.float32:
        if precision is None:
            pack(quick, input_size)
        quick = InParts(quick)
    return quick if precision is None else LowPrecision(quick, precision)


def folded_copy(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, with batch norm folded, unless the network's code depends on its input."""
    try:
        return fold_batch_norm(network)
    except TraceError:
        return deepcopy(network).eval()


class InParts(nn.Module):
    """A network that computes a batch in parts of a few images, with the same outputs.

    The maps of a large batch take hundreds of megabytes, which the system hands out page by page in every call.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        size = PART * max(1, torch.get_num_threads() // 2)
        if len(x) <= size:
            return self.network(x)
        return tree_map(lambda *parts: torch.cat(parts), *(self.network(part) for part in torch.split(x, size)))


class LowPrecision(nn.Module):
    """A network whose operators compute in ``dtype``, and whose outputs are float32."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, x: Tensor) -> Any:
        with torch.autocast(x.device.type, self.dtype):
            outputs = self.network(x)
        return tree_map(Tensor.float, outputs)


class CudaGraphModule(nn.Module):
    """A compiled network that pads every batch to the next power of two.

    Each size is compiled, and recorded as a CUDA graph, on first use; padding keeps their number small, as the last
    batch of a data set or the people of an image may be any number.
    """

    def __init__(self, run: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Any:
        count = len(x)
        size = 1 << max(count - 1, 0).bit_length()
        if size > count:
            x = torch.cat([x, x[-1:].expand(size - count, -1, -1, -1)])
        # A graph's next output overwrites this one.
        return tree_map(lambda output: output[:count].clone(), self.run(x))


def pack(network: nn.Module, input_size: tuple[int, int]) -> None:
    """Reorder a network's convolution weights, in place, to oneDNN's layout, once instead of in every call.

    At small batches reordering takes up to half of the time of a call. Does nothing if PyTorch has no oneDNN.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    shapes: dict[str, list[int]] = {}

    def note(name: str) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            shapes[name] = list(inputs[0].shape)

        return network.get_submodule(name).register_forward_pre_hook(hook)

    # Exactly these classes: a subclass may compute something different.
    names = [name for name, module in network.named_modules() if type(module) in (nn.Conv2d, nn.ConvTranspose2d)]
    hooks = [note(name) for name in names]
    width, height = input_size
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width).to(memory_format=torch.channels_last))
    finally:
        for handle in hooks:
            handle.remove()
    for name, shape in shapes.items():
        module = network.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            continue
        parent, _, child = name.rpartition(".")
        if isinstance(module, nn.ConvTranspose2d) and _doubles(module):
            packed: nn.Module = _Doubling(module, shape)
        else:
            packed = _Packed(module, shape)
        setattr(network.get_submodule(parent), child, packed)


class _Packed(nn.Module):
    """A convolution or transposed convolution with packed weights."""

    def __init__(self, module: nn.Conv2d | nn.ConvTranspose2d, shape: list[int]) -> None:
        super().__init__()
        assert not isinstance(module.padding, str)
        padding, stride, dilation = list(module.padding), list(module.stride), list(module.dilation)
        self.bias = None if module.bias is None else module.bias.detach()
        weight = module.weight.detach()
        if isinstance(module, nn.ConvTranspose2d):
            settings = (padding, list(module.output_padding), stride, dilation, module.groups)
            self.weight = torch.ops.mkldnn._reorder_convolution_transpose_weight(weight, *settings, shape)
            self.run = torch.ops.mkldnn._convolution_transpose_pointwise
            self.settings: tuple[object, ...] = settings
        else:
            self.settings = (padding, stride, dilation, module.groups)
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.settings, shape)
            self.run = torch.ops.mkldnn._convolution_pointwise

    def forward(self, x: Tensor) -> Tensor:
        # No activation is fused: "none", without scalars or algorithm.
        output: Tensor = self.run(x, self.weight, self.bias, *self.settings, "none", [], "")
        return output


def _doubles(module: nn.ConvTranspose2d) -> bool:
    """Return whether a transposed convolution is depthwise, 4x4, and doubles height and width."""
    depthwise = module.groups == module.in_channels == module.out_channels
    settings = (module.kernel_size, module.stride, module.padding, module.output_padding, module.dilation)
    return depthwise and settings == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1))


class _Doubling(nn.Module):
    """A depthwise transposed convolution that doubles height and width, as four convolutions.

    Each computes the outputs of one parity of rows and columns. oneDNN has fast kernels for depthwise convolutions, but
    not for transposed ones.
    """

    def __init__(self, module: nn.ConvTranspose2d, shape: list[int]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()
        # Output row 2i is w₃·x[i−1] + w₁·x[i], row 2i+1 is w₂·x[i] + w₀·x[i+1].
        taps, margins = ((3, 1), (2, 0)), ((0, 1), (1, 0))
        for row in (0, 1):
            for column in (0, 1):
                # Drawing its initial weights must not change the random numbers of a training that is evaluated.
                with torch.random.fork_rng(devices=[]):
                    part = nn.Conv2d(module.in_channels, module.out_channels, 3, padding=1, groups=module.groups)
                kernel = module.weight.detach()[:, :, taps[row]][..., taps[column]]
                part.weight = nn.Parameter(F.pad(kernel, (*margins[column], *margins[row])))
                part.bias = module.bias
                self.parts[f"{row}{column}"] = _Packed(part, shape)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        shape = (count, channels, 2 * height, 2 * width)
        output = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        for name, part in self.parts.items():
            output[:, :, int(name[0]) :: 2, int(name[1]) :: 2] = part(x)
        return output
