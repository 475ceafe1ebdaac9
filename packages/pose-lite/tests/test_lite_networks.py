"""LPN against its published figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError, WeightsError
from pose_core.models.flops import count_macs
from pose_core.models.fuse_batch_norm import fold_batch_norm
from pose_core.models.heads import grouped_up_unit
from pose_core.models.initialize import initialize
from pose_core.plugins.networks import create_model, list_models, load_weights, profile_model
from pose_lite.models import LPN, LPNS, GlobalContext, LightBasic, LightBottleneck, SqueezeExcite
from pose_testing.golden import load_golden
from pose_testing.networks import check_parity, published_state

GOLDEN = {f"lite/{name}": name for name in ("lpn_18", "lpn_18h", "lpn_34", "lpn_50", "lpn_101")}
COSTS = {
    "lpn_18": (473_913, 0.440, 0.423),
    "lpn_18h": (508_473, 0.456, 0.438),
    "lpn_34": (594_673, 0.453, 0.435),
    "lpn_34h": (662_641, 0.482, 0.462),
    "lpn_50": (2_911_153, 1.068, 1.008),
    "lpn_100": (6_710_914, 1.920, 1.801),
    "lpn_101": (5_353_458, 1.504, 1.414),
    "lpn_152": (7_377_459, 1.943, 1.822),
}


@pytest.mark.parametrize("golden", GOLDEN)
def test_outputs_equal_the_published_ones(golden: str, tmp_path: Path) -> None:
    error = check_parity(golden, GOLDEN[golden], tmp_path)
    print(f"{golden}: largest relative error {error:.2e}")
    assert error < 1e-6


@pytest.mark.parametrize("name", COSTS)
def test_size_and_cost_are_the_published_ones(name: str) -> None:
    parameters, gmacs, published = COSTS[name]
    cost = profile_model(name, (192, 256))
    assert cost.parameters == parameters
    assert cost.gmacs == pytest.approx(gmacs, abs=5.5e-4)  # the table was rounded twice: 0.481466, 0.4815, 0.482
    assert cost.published_gi == pytest.approx(published, abs=6e-4)


def test_sixteen_joints_at_256x256() -> None:
    cost = profile_model("lpn_50", (256, 256), 16)
    assert cost.parameters == 2_910_896
    assert cost.published_gi == pytest.approx(1.343, abs=1e-3)


def test_every_lpn_is_listed() -> None:
    assert set(list_models("lpn_*")) == set(LPNS)


BLOCKS = {
    "global_context_c8_hidden4": lambda: GlobalContext(8, 4),
    "global_context_c8_hidden4_mul_add": lambda: GlobalContext(8, 4, multiply=True),
    "squeeze_excite_c8": lambda: SqueezeExcite(8),
    "bottleneck_8_8_s1_gc": lambda: LightBottleneck(8, 8, 1, "GC"),
    "bottleneck_8_16_s2_gc": lambda: LightBottleneck(8, 16, 2, "GC"),
    "basic_8_8_s1_gc_groupsize2": lambda: LightBasic(8, 8, 1, "GC", 2),
    "basic_8_16_s2_gc_groupsize2": lambda: LightBasic(8, 16, 2, "GC", 2),
    "basic_8_16_s2_gc_groupsize1": lambda: LightBasic(8, 16, 2, "GC", 1),
    "group_deconv_8_to_4_x2": lambda: nn.Sequential(*grouped_up_unit(8, 4), *grouped_up_unit(4, 4)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_equals_the_published_one(name: str) -> None:
    block = load_golden("lite/functions")["blocks"][name]
    module = BLOCKS[name]().double().eval()
    assert [[key, list(value.shape)] for key, value in module.state_dict().items()] == block["state_dict"]
    if block["weights"] == "fill rule":
        state = published_state(block)
    else:
        state = {key: torch.tensor(value, dtype=torch.float64) for key, value in block["weights"].items()}
    assert load_weights(module, state).complete
    with torch.no_grad():
        output = module(torch.tensor(block["input"], dtype=torch.float64))
    assert np.allclose(output.numpy(), np.array(block["output"]), rtol=0, atol=1e-9)


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="attention 'CBAM' does not exist; choose GC, SE, none"):
        create_model("lpn_18", attention="CBAM")


def test_weights_of_a_variant_with_half_the_groups_are_refused() -> None:
    with pytest.raises(WeightsError, match="lpn_18h"):
        load_weights(create_model("lpn_18"), create_model("lpn_18h").state_dict())


def test_squeeze_excite_and_plain_blocks_build_and_run() -> None:
    for attention in ("SE", "none"):
        model = create_model("lpn_18", num_joints=4, attention=attention).eval()
        with torch.no_grad():
            assert model(torch.zeros(1, 3, 64, 48)).shape == (1, 4, 16, 12)


def test_blocks_keep_shapes_and_shortcuts() -> None:
    x = torch.randn(2, 64, 8, 8)
    assert LightBottleneck(64, 128, 2, "GC")(x).shape == (2, 128, 4, 4)
    assert LightBasic(64, 64, 1, "SE", 2).downsample is None
    assert SqueezeExcite(64)(x).shape == x.shape
    assert nn.Sequential(*grouped_up_unit(64, 32))(x).shape == (2, 32, 16, 16)


def test_folding_batch_norm_reaches_grouped_transposed_convolutions() -> None:
    model = create_model("lpn_18h", num_joints=3).double().eval()
    load_weights(model, published_state({"state_dict": [(k, v.shape) for k, v in model.state_dict().items()]}))
    folded = fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(1, 3, 64, 48, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(folded(x), model(x), rtol=0, atol=1e-12)


def test_published_initialization_starts_attention_near_identity() -> None:
    torch.manual_seed(0)
    model = create_model("lpn_50")
    assert isinstance(model, LPN)
    initialize(model)
    attention = model.layer1[0].att
    x = torch.randn(1, 64, 8, 8)
    with torch.no_grad():
        assert (attention(x) - x).abs().max() < 0.05
    assert not attention.conv_mask.bias.any()


def test_multiply_adds_do_not_depend_on_training_mode() -> None:
    model = create_model("lpn_18")
    model.train()
    assert count_macs(model, (96, 128)) == count_macs(model.eval(), (96, 128))
