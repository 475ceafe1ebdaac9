"""Blocks and networks against the published figures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError, WeightsError
from pose_core.models.flops import count_macs, count_parameters
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.models.initialize import initialize
from pose_core.models.weights import load_weights
from pose_dekr.blocks import AdaptiveBlock, TransformerBlock, tap_grid
from pose_dekr.models import DILATIONS, SHARED, BottomUpHRNet, Maps, bottomup_hrnet, dekr_hrnet, hrnet_spec
from pose_testing.golden import load_golden, relative_error, uniform
from pose_testing.networks import check_written_back, published_state

Builder = Callable[..., nn.Module]
GOLDEN: dict[str, tuple[Builder, int, dict[str, Any]]] = {
    "bottomup_hrnet_w32_coco": (bottomup_hrnet, 17, {"width": 32}),
    "bottomup_hrnet_w32_crowdpose": (bottomup_hrnet, 14, {"width": 32}),
    "bottomup_higher_hrnet_w48_coco": (bottomup_hrnet, 17, {"width": 48, "higher": True}),
    "dekr_hrnet_w32_coco": (dekr_hrnet, 17, {"width": 32}),
}
SMALL: dict[str, Any] = {"width": 8, "blocks": 1, "modules": (1, 1, 1)}


def state_of(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Fill a state dict by the golden rule; then set the grids, and shared weights to the last branch's."""
    state = published_state(content)
    for key in state:
        if key.endswith("regular_matrix"):
            state[key] = tap_grid().double()
    for name in SHARED:
        keys = [f"multi_level_layers_4x_heatmap.{branch}.0.{name}.weight" for branch in range(len(DILATIONS))]
        if keys[0] in state:
            state.update(dict.fromkeys(keys, state[keys[-1]]))
    return state


@pytest.mark.parametrize("golden", GOLDEN)
def test_outputs_equal_the_published_ones(golden: str, tmp_path: Path) -> None:
    builder, joints, options = GOLDEN[golden]
    content = load_golden(f"dekr/{golden}")
    state = state_of(content)
    network = builder(joints, **options).double().eval()
    file = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, file)
    assert load_weights(network, file).complete
    check_written_back(network, state)
    assert count_parameters(network) == content["params"]
    x = torch.from_numpy(uniform("input", int(np.prod(content["input_shape"]))).reshape(content["input_shape"]))
    with torch.no_grad():
        outputs = network(x)
    errors = [relative_error(o.numpy(), e) for o, e in zip(outputs, content["outputs"], strict=True)]
    print(f"{golden}: largest relative error {max(errors):.2e}")
    assert max(errors) < 1e-9


COSTS = {
    # name: builder, joints, options, input, parameters, GMAC as published
    "bottomup w32": (bottomup_hrnet, 17, {"width": 32}, 512, 30_678_516, 64.891),
    "bottomup w48": (bottomup_hrnet, 17, {"width": 48}, 640, 66_803_428, 174.275),
    "higher w48": (bottomup_hrnet, 17, {"width": 48, "higher": True}, 640, 66_895_941, 181.948),
    "bottomup w32 crowdpose": (bottomup_hrnet, 14, {"width": 32}, 512, 30_676_107, 64.848),
    "dekr w32": (dekr_hrnet, 17, {"width": 32}, 512, 29_561_182, 45.385),
    "dekr w48": (dekr_hrnet, 17, {"width": 48}, 640, 65_684_590, 141.527),
    "dekr w32 crowdpose": (dekr_hrnet, 14, {"width": 32}, 512, 29_522_071, 44.749),
}


@pytest.mark.parametrize("name", COSTS)
def test_size_and_cost_are_the_published_ones(name: str) -> None:
    builder, joints, options, side, parameters, gmacs = COSTS[name]
    with torch.device("meta"):
        network = builder(joints, **options)
        # Transposed convolutions by their output, as the published count has them.
        _, macs = count_macs(network, (side, side))
    width = options["width"]
    if builder is bottomup_hrnet and "higher" not in options:
        # The published code computes transition_cls three times there, ours once.
        macs += 2 * 15 * width * width * (side // 4) ** 2
    assert count_parameters(network) == parameters
    assert macs / 1e9 == pytest.approx(gmacs, abs=6e-4)


@pytest.mark.parametrize("kind", ["dilation1", "dilation2", "dilation3", "adaptive"])
def test_a_block_equals_the_published_one(kind: str) -> None:
    functions = load_golden("dekr/functions")
    if kind == "adaptive":
        block, content, shape = AdaptiveBlock(5), functions["dekr"]["adapt_block"], (1, 5, 6, 7)
    else:
        content = functions["bottom_up"]["stn_block"][kind]
        block, shape = TransformerBlock(4, int(kind[-1])), (1, 4, 6, 7)
    module: nn.Module = block.double().eval()
    assert {key for key, _ in content["keys"]} == set(module.state_dict())
    state = published_state({"state_dict": content["keys"]})
    state["regular_matrix"] = tap_grid().double()
    assert load_weights(module, state).complete
    x = torch.from_numpy(uniform("block_input", int(np.prod(shape))).reshape(shape))
    with torch.no_grad():
        found = module(x)[0].numpy()
    assert np.allclose(found, np.array(content["output_chw"]), rtol=0, atol=1e-12)


def test_our_own_layout_loads_unchanged() -> None:
    network = dekr_hrnet(3, **SMALL)
    assert load_weights(network, network.state_dict()).complete


def test_shared_weights_are_one_parameter_under_three_keys() -> None:
    network = bottomup_hrnet(3, **SMALL)
    state = network.state_dict()
    keys = [f"multi_level_layers_4x_heatmap.{branch}.0.stn_conv1.weight" for branch in range(3)]
    assert len({state[key].data_ptr() for key in keys}) == 1
    changed = {key: value.clone() for key, value in state.items()}
    changed[keys[1]] += 1
    with pytest.raises(WeightsError, match="differs from its copies"):
        load_weights(network, changed)


@pytest.mark.parametrize("higher", [False, True])
def test_small_bottom_up_networks_train(higher: bool) -> None:
    torch.manual_seed(0)
    network = bottomup_hrnet(3, higher=higher, **SMALL).train()
    initialize(network)
    outputs = network(torch.randn(2, 3, 64, 128))
    assert outputs[0].shape == (2, 4, 16, 32)
    assert outputs.offsets.shape == (2, 6, 16, 32)
    if higher:
        assert outputs.fine.shape == (2, 3, 32, 64)
    sum(output.square().sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


class ThreeRuns(BottomUpHRNet):
    """The published order of layers: the heads' first layer runs for each branch."""

    def forward(self, x: torch.Tensor) -> Maps:
        x = self.features(x)
        levels = [self.final_layers[0](branch(self.transition_cls(x))) for branch in self.multi_level_layers_4x_heatmap]
        mean = (levels[0] + levels[1] + levels[2]) / 3
        y = self.transition_reg(torch.cat([x, mean], 1))
        y = self.final_layers[1](self.multi_level_layers_4x_regression[0](y))
        return Maps(torch.cat([mean, y[:, -1:]], 1), y[:, :-1])


@pytest.mark.parametrize("compat", [True, False])
def test_compat_moves_batch_norm_statistics_as_three_runs_do(compat: bool) -> None:
    torch.manual_seed(0)
    spec = hrnet_spec(8, 1, (1, 1, 1))
    theirs, ours = ThreeRuns(3, spec, regression=16).double(), bottomup_hrnet(3, regression=16, compat=compat, **SMALL)
    ours.double().load_state_dict(theirs.state_dict())
    optimizers = [torch.optim.Adam(network.parameters(), 1e-3) for network in (theirs, ours)]
    for _ in range(4):
        x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        gradients = []
        for network, optimizer in zip((theirs, ours), optimizers, strict=True):
            optimizer.zero_grad()
            sum((output - 0.1).square().mean() for output in network.train()(x)).backward()
            gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
            optimizer.step()
        assert torch.allclose(*gradients, rtol=1e-8, atol=1e-12)
    shared = [key for key in theirs.state_dict() if key.startswith("transition_cls.1.")]
    buffers = dict(ours.named_buffers())
    different = {
        key for key, value in theirs.named_buffers() if not torch.allclose(buffers[key], value, rtol=1e-9, atol=1e-12)
    }
    assert different == (set() if compat else set(shared) & buffers.keys())
    assert buffers["transition_cls.1.num_batches_tracked"] == (12 if compat else 4)


def test_the_published_higher_network_runs_each_layer_once() -> None:
    network = bottomup_hrnet(3, higher=True, compat=True, **SMALL).train()
    network(torch.randn(2, 3, 64, 64))
    tracked = {key: int(value) for key, value in network.named_buffers() if key.endswith("num_batches_tracked")}
    assert set(tracked.values()) == {1}
    assert network.transition_cls[1].momentum == 0.1


def test_small_dekr_trains_and_starts_without_offsets() -> None:
    torch.manual_seed(0)
    network = dekr_hrnet(3, **SMALL).train()
    initialize(network)
    block = network.offset_feature_layers[0]
    assert not block.transform_matrix_conv.weight.any()
    assert block.adapt_conv.weight.std() > 0.01  # the deformable weights keep their own initialization
    outputs = network(torch.randn(2, 3, 64, 64))
    assert outputs.heatmaps.shape == (2, 4, 16, 16)
    assert outputs.offsets.shape == (2, 6, 16, 16)
    sum(output.square().sum() for output in outputs).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs a width"):
        dekr_hrnet(17, width=0)


@pytest.mark.parametrize(
    ("builder", "options"), [(dekr_hrnet, {}), (bottomup_hrnet, {}), (bottomup_hrnet, {"higher": True})]
)
def test_batch_norms_of_the_backbone_fold(builder: Builder, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = builder(14, **SMALL, **options).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    quick = optimize_for_inference(network, (64, 64))
    left = sum(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert left < len(norms) / 4, "only those after deformable convolutions remain"
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(quick(x), network(x), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("make", [dekr_hrnet, bottomup_hrnet])
def test_the_operator_of_deformable_convolutions_is_an_option(make: Builder) -> None:
    network = make(14, deform="torchvision", **SMALL).eval()
    other = make(14, **SMALL).eval()
    other.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert all(torch.allclose(a, b, rtol=0, atol=1e-5) for a, b in zip(network(x), other(x), strict=True))
    with pytest.raises(ConfigError, match=r"'nothing' does not exist; choose auto"):
        make(14, deform="nothing", **SMALL)


def test_without_mmcv_its_operator_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmcv.ops", None)
    with pytest.raises(ConfigError, match="needs mmcv with its operators"):
        dekr_hrnet(14, deform="mmcv", **SMALL)
