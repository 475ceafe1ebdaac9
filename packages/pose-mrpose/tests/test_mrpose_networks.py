"""The multi-resolution networks against their published figures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.errors import ConfigError, WeightsError
from pose_core.models.flops import count_parameters
from pose_core.models.initialize import PUBLISHED_STD, initialize, load_backbone
from pose_core.plugins.networks import create_model, list_models, load_weights, profile_model
from pose_testing.networks import check_parity

GOLDEN = {
    "mrpose/mrheat1_50": "mrheat1_resnet50",
    "mrpose/mrheat2_50": "mrheat2_resnet50",
    "mrpose/mrfea1_50": "mrfea1_resnet50",
    "mrpose/mrfea2_50": "mrfea2_resnet50",
    "mrpose/mrfea2_50_caffe": "mrfea2_resnet50_caffe",
    "mrpose/mrfea2_101": "mrfea2_resnet101",
    "mrpose/pose_resnet50_pytorch": "simplebaseline_resnet50",
    "mrpose/pose_resnet50_caffe": "simplebaseline_resnet50_caffe",
}
# 17 joints, 256x192, on ResNet-50, 101, 152: parameters; true GMACs; the published count in Gi.
COSTS = {
    "mrheat1": ((34_017_785, 53_009_913, 68_653_561), (5.435, 9.071, 12.708), (9.01, 12.40, 15.78)),
    "mrheat2": ((34_022_409, 53_014_537, 68_658_185), (5.439, 9.075, 12.711), (9.02, 12.41, 15.80)),
    "mrfea1": ((41_341_265, 60_333_393, 75_977_041), (8.648, 12.284, 15.921), (20.99, 24.38, 27.77)),
    "mrfea2": ((80_141_137, 99_133_265, 114_776_913), (13.681, 17.317, 20.954), (39.74, 43.13, 46.51)),
}
# 16 joints, 256x256: parameters and true GMACs.
MPII_COSTS = {
    "mrheat1": ((34_015_952, 53_008_080, 68_651_728), (7.245, 12.093, 16.942)),
    "mrheat2": ((34_020_048, 53_012_176, 68_655_824), (7.249, 12.097, 16.946)),
    "mrfea1": ((41_341_008, 60_333_136, 75_976_784), (11.529, 16.378, 21.226)),
    "mrfea2": ((80_140_880, 99_133_008, 114_776_656), (18.240, 23.089, 27.937)),
}
DEPTHS = (50, 101, 152)
DESIGNS = tuple(COSTS)


@pytest.mark.parametrize("golden", GOLDEN)
def test_outputs_equal_the_published_ones(golden: str, tmp_path: Path) -> None:
    error = check_parity(golden, GOLDEN[golden], tmp_path)
    print(f"{golden}: largest relative error {error:.2e}")
    assert error < 1e-6


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("design", DESIGNS)
def test_size_and_cost_are_the_published_ones(design: str, depth: int) -> None:
    row = DEPTHS.index(depth)
    name = f"{design}_resnet{depth}"
    parameters, gmacs, published = (column[row] for column in COSTS[design])
    cost = profile_model(name, (192, 256))
    assert cost.parameters == parameters
    assert cost.gmacs == pytest.approx(gmacs, abs=6e-4)
    assert cost.published_gi == pytest.approx(published, abs=6e-3)
    assert profile_model(f"{name}_caffe", (192, 256)).parameters == parameters
    mpii, mpii_gmacs = (column[row] for column in MPII_COSTS[design])
    cost = profile_model(name, (256, 256), 16)
    assert (cost.parameters, cost.gmacs) == (mpii, pytest.approx(mpii_gmacs, abs=6e-4))


def test_basic_block_networks_have_the_published_size() -> None:
    for name, parameters in (
        ("mrheat1_resnet18", 15_394_809),
        ("mrheat1_resnet34", 25_502_969),
        ("mrheat2_resnet18", 15_399_433),
        ("mrheat2_resnet34", 25_507_593),
    ):
        assert count_parameters(create_model(name)) == parameters


def test_every_design_runs_on_every_backbone() -> None:
    names = list_models("mr*")
    assert len(names) == 4 * (5 + 3)
    for name in names:
        network = create_model(name, num_joints=3, width=8).eval()
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 16, 24), name


@pytest.mark.parametrize("design", DESIGNS)
def test_gradients_reach_every_parameter(design: str) -> None:
    """Check gradients, because the published MRHeatNet1 adds in place, which PyTorch cannot differentiate."""
    network = create_model(f"{design}_resnet18", num_joints=3, width=8)
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("design", DESIGNS)
def test_the_output_is_the_sum_of_the_design(design: str) -> None:
    torch.manual_seed(0)
    net = create_model(f"{design}_resnet18", num_joints=3, width=8).eval()
    x = torch.randn(1, 3, 64, 64)
    s1, s2, s3, s4 = net.stages(x)
    if design.startswith("mrfea"):
        maps = (s1, net.deconv3(s2), net.deconv22(net.deconv21(s3)), net.deconv13(net.deconv12(net.deconv11(s4))))
        expected = net.final_layer(torch.stack(maps).mean(0))
    else:
        d1 = net.deconv1(s4)
        d2 = net.deconv2(d1)
        low, middle, high = net.s_deconv1(net.s_conv1(d1)), net.s_conv2(d2), net.final_layer(net.deconv3(d2))
        # A transposed convolution without bias is linear: MRHeatNet1 is MRHeatNet2 with one kernel for both.
        kernel = net.s_deconv2 if design == "mrheat1" else net.s_deconv12
        expected = high + net.s_deconv2(middle) + kernel(low)
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "saved", ["mrheat2_resnet50", "mrfea1_resnet50", "mrheat1_resnet101", "simplebaseline_resnet50"]
)
def test_a_checkpoint_of_another_variant_is_refused_and_named(saved: str) -> None:
    with torch.device("meta"):
        state = {f"module.{key}": value for key, value in create_model(saved).state_dict().items()}
        wrong = create_model("mrheat1_resnet50")
    with pytest.raises(WeightsError, match=rf"the file fits {saved} or {saved}_caffe"):
        load_weights(wrong, {"state_dict": state})


def test_a_checkpoint_of_other_joints_is_refused_and_says_so() -> None:
    with torch.device("meta"):
        state = create_model("mrfea2_resnet50", num_joints=16).state_dict()
        with pytest.raises(
            WeightsError, match=r"the file has 16 joints, the network 17; the file fits mrfea2_resnet50"
        ):
            load_weights(create_model("mrfea2_resnet50", num_joints=17), state)


def test_weights_named_after_the_other_backbone_style_give_a_warning(tmp_path: Path) -> None:
    network = create_model("mrfea1_resnet50", num_joints=2, width=8)
    file = tmp_path / "mrfea1_pose_resnet_50_caffe.pth.tar"
    torch.save(network.state_dict(), file)
    report = load_weights(network, file)
    assert report.complete
    assert "says caffe, but the network has pytorch style" in str(report)
    assert not load_weights(create_model("mrfea1_resnet50_caffe", num_joints=2, width=8), file).warning


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_imagenet_file_fills_the_backbone_and_leaves_the_published_head(wrapped: bool, tmp_path: Path) -> None:
    donor = create_model("simplebaseline_resnet50", width=8).state_dict()
    backbone = {key: value for key, value in donor.items() if not key.startswith(("deconv", "final"))}
    backbone |= {"fc.weight": torch.zeros(1000, 256), "fc.bias": torch.zeros(1000)}
    file = tmp_path / ("resnet50-caffe.pth.tar" if wrapped else "resnet50-19c8e357.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in backbone.items()}} if wrapped else backbone, file)
    network = create_model("mrheat2_resnet50" + ("_caffe" if wrapped else ""), width=8)
    initialize(network, backbone_follows=True)
    report = load_backbone(network, file)
    assert not report.missing
    assert torch.equal(network.state_dict()["layer3.0.conv2.weight"], backbone["layer3.0.conv2.weight"])
    head = [m for n, m in network.named_modules() if n.startswith(("deconv", "s_", "final"))]
    for module in head:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(PUBLISHED_STD, rel=0.3)
            assert module.bias is None or not module.bias.any()


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ConfigError, match="three deconvolutions"):
        create_model("mrheat1_resnet18", filters=(64, 64))
    with pytest.raises(ConfigError, match="does not take these options"):
        create_model("mrfea1_resnet18", filters=(64, 64, 64))
    with pytest.raises(ConfigError, match="did you mean"):
        create_model("mrheat3_resnet50")
