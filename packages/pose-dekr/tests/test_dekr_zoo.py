"""DEKR's weights of the open-mmlab zoo, of both generations, and the scoring network in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pose_core.errors import WeightsError
from pose_core.models.weights import load_weights
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import create_model
from pose_dekr.config import DekrConfig
from pose_dekr.models import DEKR, dekr_hrnet
from pose_dekr.predictor import find_score_net
from pose_dekr.rescore import load_score_net
from pose_testing.golden import load_golden
from pose_testing.networks import check_zoo, save_as_the_zoo, zoo_state

ToZoo = Callable[[list[torch.Tensor]], list[torch.Tensor]]


def to_first_generation(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return our maps with the center's heatmap first."""
    return [outputs[0].roll(1, 1), outputs[1]]


def to_second_generation(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return our maps with offsets from place to joint."""
    return [outputs[0], -outputs[1]]


@pytest.mark.parametrize(
    ("golden", "to_zoo"),
    [("dekr_hrnet_w32_coco", to_second_generation), ("mm0_dekr_hrnet_w32_coco", to_first_generation)],
)
def test_outputs_equal_the_zoo_s(golden: str, to_zoo: ToZoo, tmp_path: Path) -> None:
    error = check_zoo(golden, create_model("dekr_hrnet_w32", num_joints=17), tmp_path / "zoo.pth", to_zoo)
    print(f"{golden}: largest relative error {error:.2e}")
    assert error <= 1e-9


def test_the_scoring_network_in_a_file_is_read_and_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = zoo_state(load_golden("zoo/dekr_hrnet_w32_coco"))
    save_as_the_zoo(state, tmp_path / "zoo.pth")
    network = load_score_net(tmp_path / "zoo.pth", 17)
    assert torch.equal(network.l1.weight.double(), state["head.rescore_net.l1.weight"].float().double())
    name = "dekr_hrnet_w32.coco_512"
    monkeypatch.setattr("pose_dekr.predictor.locate_weights", {name: tmp_path / "zoo.pth"}.__getitem__)
    config = load_config("pose-dekr/coco_dekr_w32_512", ["rescore.use=true", f"rescore.weights={name}"])
    assert isinstance(config, DekrConfig)
    assert find_score_net(config) == tmp_path / "zoo.pth"


def test_a_file_without_a_scoring_network_is_refused(tmp_path: Path) -> None:
    save_as_the_zoo(zoo_state(load_golden("zoo/mm0_dekr_hrnet_w32_coco")), tmp_path / "zoo.pth")
    with pytest.raises(WeightsError, match=r"zoo\.pth holds no scoring network"):
        load_score_net(tmp_path / "zoo.pth", 17)


def test_a_mismatch_names_the_network(tmp_path: Path) -> None:
    state = {"data_preprocessor.mean": torch.zeros(3, 1, 1), **zoo_state(load_golden("zoo/dekr_hrnet_w32_coco"))}
    save_as_the_zoo(state, tmp_path / "zoo.pth")
    with pytest.raises(WeightsError, match=r"the file fits dekr_hrnet_w32$"):
        create_model("hrnet_w18_small_v1", weights=tmp_path / "zoo.pth")


@pytest.mark.parametrize("generation", ["mm0", "mm1"])
def test_any_width_and_number_of_joints_load(generation: str) -> None:
    network = dekr_hrnet(14, width=8, blocks=1, modules=(1, 1, 1))
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    other = dekr_hrnet(14, width=8, blocks=1, modules=(1, 1, 1))
    report = load_weights(other, to_zoo(network, generation))
    assert report.complete
    for key, value in network.state_dict().items():
        assert torch.allclose(other.state_dict()[key], value, atol=1e-6), key


def to_zoo(network: DEKR, generation: str) -> dict[str, torch.Tensor]:
    """Return a network's weights as the zoo has them: the inverse of what loading does."""
    head, way = ("keypoint_head", "offset") if generation == "mm0" else ("head", "displacement")
    names = [
        (r"^transition_heatmap\.0\.", "heatmap_conv_layers.0.conv."),
        (r"^transition_heatmap\.1\.", "heatmap_conv_layers.0.bn."),
        (r"^head_heatmap\.0\.0\.", "heatmap_conv_layers.1."),
        (r"^head_heatmap\.1\.", "heatmap_conv_layers.2."),
        (r"^transition_offset\.0\.", f"{way}_conv_layers.0.conv."),
        (r"^transition_offset\.1\.", f"{way}_conv_layers.0.bn."),
        (r"^offset_feature_layers\.0\.", f"{way}_conv_layers.1."),
        (r"^offset_feature_layers\.1\.", f"{way}_conv_layers.2."),
        (r"^offset_final_layer\.", f"{way}_conv_layers.3."),
    ]
    state = dict(network.state_dict())
    zoo = {}
    for key, value in state.items():
        new = key
        for pattern, theirs in names:
            new = re.sub(pattern, theirs, new)
        if new == key:
            zoo[f"backbone.{key}"] = value
            continue
        new = f"{head}.{new}"
        if re.search(r"layers\.[12]\.bn\.", new) and way in new:
            new = new.replace(".bn.", ".norm.")
        if ".translation_conv." in new:
            continue
        if ".transform_matrix_conv." in new:
            matrices = value.unflatten(0, (-1, 4))
            if key.endswith("bias"):
                matrices = matrices - torch.tensor([1.0, 0, 0, 1])
            moves = state[key.replace("transform_matrix", "translation")].unflatten(0, (-1, 2))
            parts = [matrices[:, :2], moves[:, :1], matrices[:, 2:], moves[:, 1:]]
            value = torch.cat(parts, 1).flatten(0, 1)
        if new.endswith("regular_matrix"):
            value = torch.cat([value, torch.ones(1, 9)])
        if "heatmap_conv_layers.2." in new and generation == "mm0":
            value = value.roll(1, 0)
        if f"{way}_conv_layers.3." in new and generation == "mm1":
            value = -value
        zoo[new] = value
    return zoo
