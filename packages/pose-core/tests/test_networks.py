"""The core's networks against their published figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError
from pose_core.models.flops import count_parameters
from pose_core.models.fuse_batch_norm import fold_batch_norm
from pose_core.models.hrnet import HRNETS, HRNetBackbone
from pose_core.models.initialize import initialize, load_backbone
from pose_core.models.resnet import ResNetBackbone
from pose_core.plugins.networks import check_input_size, create_model, identify, list_models, profile_model
from pose_testing.networks import check_parity, published_state

GOLDEN = {
    "lite/hrnet_w18_small_v1": "hrnet_w18_small_v1",
    "lite/hrnet_w18_small_v1_layer1_4x64": "hrnet_w18_small_v1_4x64",
    "lite/hrnet_w18_small_v2": "hrnet_w18_small_v2",
    "lite/hrnet_w18_small_v2_softargmax": "hrnet_w18_small_v2_softargmax",
    "lite/hrnet_w32": "hrnet_w32",
    "asda/pose_hrnet_w32": "hrnet_w32",
    "asda/pose_hrnet2_w32": "hrnet_w32",
    "asda/pose_hrnet_w48": "hrnet_w48",
    "asda/pose_resnet50": "simplebaseline_resnet50",
    "asda/pose_resnet50_16": "simplebaseline_resnet50",
    "asda/pose_resnet101": "simplebaseline_resnet101",
    "mrpose/pose_resnet50_pytorch": "simplebaseline_resnet50",
    "mrpose/pose_resnet50_caffe": "simplebaseline_resnet50_caffe",
}
# Parameters, true GMACs and the published count in Gi, at 256x192 with 17 joints.
COSTS = {
    "hrnet_w18_small_v1": (1_338_337, 0.731, 0.681),
    "hrnet_w18_small_v1_4x64": (1_602_273, 1.452, 1.352),
    "hrnet_w18_small_v2": (3_757_475, 1.963, 1.828),
    "hrnet_w32": (28_536_113, 7.645, 7.120),
    "hrnet_w48": (63_595_745, 15.692, 14.614),
    "simplebaseline_resnet50": (33_999_697, 5.426, 8.991),
    "simplebaseline_resnet101": (52_991_825, 9.063, 12.378),
    "simplebaseline_resnet152": (68_635_473, 12.699, 15.765),
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
    assert cost.gmacs == pytest.approx(gmacs, abs=6e-4)
    assert cost.published_gi == pytest.approx(published, abs=6e-4)


def test_sixteen_joints_and_square_inputs() -> None:
    assert count_parameters(create_model("hrnet_w48", num_joints=16)) == 63_595_696
    assert profile_model("hrnet_w32", (256, 256), 16).published_gi == pytest.approx(9.493, abs=6e-4)
    assert profile_model("simplebaseline_resnet152", (256, 256), 16).parameters == 68_635_216


def test_names_are_listed_sorted_and_by_pattern() -> None:
    names = list_models()
    assert names == sorted(names)
    assert set(list_models("hrnet_w[34]*")) == {"hrnet_w32", "hrnet_w48"}


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="hrnet_w32"):
        create_model("hrnet_w23")
    with pytest.raises(ConfigError, match="does not take"):
        create_model("hrnet_w32", depth=5)


def test_a_state_dict_tells_its_network() -> None:
    state = create_model("hrnet_w18_small_v1", num_joints=5).state_dict()
    assert identify(state) == ["hrnet_w18_small_v1"]


def test_inputs_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiples of 32.*\[64, 96\]"):
        check_input_size(create_model("simplebaseline_resnet18"), "simplebaseline_resnet18", (72, 96))


def test_the_caffe_style_needs_bottlenecks() -> None:
    with pytest.raises(ConfigError, match="caffe"):
        ResNetBackbone(18, "caffe")
    with pytest.raises(ConfigError, match="depth 51"):
        ResNetBackbone(51)


def test_backbones_return_every_resolution() -> None:
    x = torch.zeros(1, 3, 64, 64)
    assert [tuple(y.shape[1:]) for y in ResNetBackbone(18).eval().stages(x)] == [
        (64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2),
    ]  # fmt: skip
    backbone = HRNetBackbone(HRNETS["hrnet_w18_small_v1"], all_branches=True).eval()
    assert [tuple(y.shape[1:]) for y in backbone.branches(x)] == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]


@pytest.mark.parametrize("name", ["hrnet_w18_small_v1", "simplebaseline_resnet18"])
def test_networks_compile_formats_and_precisions(name: str) -> None:
    model = create_model(name, num_joints=3).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = model(x)
        last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        assert torch.allclose(plain, last, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert model(x).shape == plain.shape
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), plain, atol=1e-5)
    program = torch.export.export(model, (x,))
    assert torch.allclose(program.module()(x), plain, atol=1e-5)
    nn.SyncBatchNorm.convert_sync_batchnorm(model)


@pytest.mark.parametrize("name", ["hrnet_w18_small_v1", "simplebaseline_resnet18"])
def test_folded_batch_norm_gives_the_same_heatmaps(name: str) -> None:
    model = create_model(name, num_joints=3).double()
    shapes = [(key, tuple(value.shape)) for key, value in model.state_dict().items()]
    model.load_state_dict(published_state({"state_dict": shapes}))
    folded = fold_batch_norm(model)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(folded(x), model.eval()(x), rtol=0, atol=1e-12)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_folding_leaves_a_batch_norm_whose_input_others_read() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.bn(y) + y

    model = Shared()
    nn.init.constant_(model.bn.weight, 2)
    folded, x = fold_batch_norm(model), torch.randn(1, 3, 4, 4)
    assert isinstance(folded.bn, nn.BatchNorm2d)
    assert torch.equal(folded(x), model.eval()(x))


def test_published_initialization() -> None:
    torch.manual_seed(0)
    model = create_model("hrnet_w18_small_v1")
    initialize(model)
    assert model.conv2.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not model.final_layer.bias.any()
    resnet = create_model("simplebaseline_resnet18")
    initialize(resnet)
    assert resnet.final_layer.bias.any()  # left at the framework's default, as published
    initialize(resnet, backbone_follows=True)
    assert not resnet.final_layer.bias.any()


def test_a_backbone_loads_from_an_imagenet_file(tmp_path: Path) -> None:
    backbone = ResNetBackbone(18).state_dict()
    file = tmp_path / "resnet18.pth"
    torch.save({**backbone, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, file)
    model = create_model("simplebaseline_resnet18")
    report = load_backbone(model, file)
    assert report.loaded == len(backbone)
    assert not report.missing
    assert set(report.unexpected) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.layer3[0].conv1.weight, backbone["layer3.0.conv1.weight"])
