"""Copies optimized for inference give the outputs of the original networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pose_core.models.hourglass import StackedHourglass
from pose_core.models.inference_copy import CudaGraphModule, optimize_for_inference
from pose_core.plugins.networks import create_model


def settle(network: nn.Module) -> nn.Module:
    """Give batch norms statistics that are not trivial to fold."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.1
            module.running_var = torch.rand(module.num_features) + 0.5
    return network.eval()


@pytest.mark.parametrize(
    "network",
    [
        create_model("simplebaseline_resnet50", num_joints=5, width=8, filters=(8, 8, 8)),
        create_model("hrnet_w18_small_v1", num_joints=5),
        StackedHourglass(5, channels=16, depth=2),
        StackedHourglass(5, channels=16, depth=2, norm_first=True),
    ],
    ids=["simplebaseline", "hrnet", "hourglass", "hourglass, norm first"],
)
def test_the_copy_answers_the_same(network: nn.Module) -> None:
    settle(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    quick = optimize_for_inference(network, (64, 96))
    for count, height, width in ((1, 96, 64), (3, 96, 64), (2, 64, 128)):
        x = torch.randn(count, 3, height, width)
        with torch.inference_mode():
            expected, found = network(x), quick(x.to(memory_format=torch.channels_last))
        for ours, theirs in zip(tuple_of(expected), tuple_of(found), strict=True):
            assert (ours - theirs).abs().max() < 1e-5 * ours.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def tuple_of(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


class Wilful(nn.Module):
    """A network with data-dependent control flow, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return -y if x.mean() > 0 else y


def test_a_network_that_cannot_be_traced_keeps_its_batch_norms() -> None:
    network = settle(Wilful())
    quick = optimize_for_inference(network, (8, 8))
    assert isinstance(quick.get_submodule("norm"), nn.BatchNorm2d)
    for sign in (-1, 1):
        x = torch.rand(2, 3, 8, 8) * sign
        with torch.inference_mode():
            torch.testing.assert_close(quick(x), network(x))


def test_a_compiled_copy_sees_few_sizes_and_answers_the_same() -> None:
    network = settle(create_model("simplebaseline_resnet18", num_joints=3, width=8, filters=(8, 8, 8)))
    quick = optimize_for_inference(network, (32, 32), compiled=True)
    for count in (1, 3):
        x = torch.randn(count, 3, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(quick(x), network(x), rtol=1e-4, atol=1e-5)


def test_batches_are_filled_up_and_answers_cut_to_size() -> None:
    seen = []

    def run(x: Tensor) -> tuple[Tensor, list[Tensor]]:
        seen.append(len(x))
        return x[:, 0], [x + 1]

    replayed = CudaGraphModule(run)
    for count in (1, 2, 3, 5, 8):
        x = torch.randn(count, 3, 2, 2)
        first, (second,) = replayed(x)
        assert torch.equal(first, x[:, 0])
        assert torch.equal(second, x + 1)
    assert seen == [1, 2, 4, 8, 8]
