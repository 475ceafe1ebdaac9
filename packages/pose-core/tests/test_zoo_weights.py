"""Weights of the open-mmlab zoo: files as it writes them, of both generations, in the networks of the core."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.errors import WeightsError
from pose_core.models.initialize import load_backbone
from pose_core.models.weights import read_checkpoint
from pose_core.models.zoo import zoo_generation
from pose_core.plugins.networks import create_model, load_weights
from pose_testing.networks import check_zoo, save_as_the_zoo

NAME = "hrnet_w18_small_v1"


@pytest.mark.parametrize(
    ("golden", "name", "joints"),
    [("hrnet_w32_coco", "hrnet_w32", 17), ("res50_coco", "simplebaseline_resnet50", 17)],
)
def test_outputs_equal_the_zoo_s(golden: str, name: str, joints: int, tmp_path: Path) -> None:
    assert check_zoo(golden, create_model(name, num_joints=joints), tmp_path / "zoo.pth") <= 1e-9


def zoo_names(state: dict[str, torch.Tensor], head: str) -> dict[str, torch.Tensor]:
    """Return a state dict of ours under the zoo's names."""
    return {(head if key.startswith("final_layer") else "backbone.") + key: value for key, value in state.items()}


@pytest.mark.parametrize(("head", "generation"), [("keypoint_head.", "mm0"), ("head.", "mm1")])
@pytest.mark.parametrize("joints", [1, 14, 133])
def test_both_generations_load_with_any_number_of_joints(
    head: str, generation: str, joints: int, tmp_path: Path
) -> None:
    torch.manual_seed(joints)
    state = create_model(NAME, num_joints=joints).state_dict()
    entries = zoo_names(state, head)
    if generation == "mm1":
        entries |= {"data_preprocessor.mean": torch.zeros(3, 1, 1), "head.loss_module.weight": torch.ones(1)}
    save_as_the_zoo(entries, tmp_path / "zoo.pth")
    assert zoo_generation(entries) == generation
    network = create_model(NAME, num_joints=joints, weights=tmp_path / "zoo.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_a_mismatch_of_a_zoo_file_names_the_network_that_it_fits(tmp_path: Path) -> None:
    save_as_the_zoo(zoo_names(create_model(NAME).state_dict(), "head."), tmp_path / "zoo.pth")
    with pytest.raises(WeightsError, match=rf"the file fits {NAME}$"):
        create_model("hrnet_w18_small_v2", weights=tmp_path / "zoo.pth")
    with pytest.raises(WeightsError, match="the file has 17 joints, the network 16"):
        create_model(NAME, num_joints=16, weights=tmp_path / "zoo.pth")


class HistoryBuffer:
    """As mmengine's: a curve of the training, with functions as attributes."""

    def __init__(self) -> None:
        self.history = np.arange(5.0)
        self.statistics = OrderedDict(mean=HistoryBuffer.mean, counts=Counter("aab"))

    def mean(self) -> float:
        raise AssertionError("it ran")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_file_loads_without_its_curves(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = ModuleType("mmengine.logging.history_buffer")
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setattr(HistoryBuffer, "__module__", module.__name__)
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module if name == module.__name__ else ModuleType(name))
    state = create_model(NAME).state_dict()
    curves = {"train/loss": HistoryBuffer(), "rate": np.float32(0.5), "bytes": b"\xff", "big": np.zeros((9, 9), ">f8")}
    content = {"meta": {"epoch": 1}, "message_hub": {"log_scalars": curves}, "state_dict": zoo_names(state, "head.")}
    torch.save(content, tmp_path / "zoo.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    assert load_weights(create_model(NAME), tmp_path / "zoo.pth").complete
    found = read_checkpoint(tmp_path / "zoo.pth")["message_hub"]["log_scalars"]
    assert found["rate"] == 0.5
    assert not isinstance(found["big"], np.ndarray)
    assert vars(found["train/loss"]) == {}


class Hostile:
    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def test_getattr_of_a_file_gives_nothing_to_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = Hostile(getattr, "text", "upper")
    nested = Hostile(np.dtype, "O")
    torch.save({"state_dict": {}, "a": evil, "b": nested}, tmp_path / "a")
    content = read_checkpoint(tmp_path / "a")
    assert not callable(content["b"])
    assert vars(content["a"]()) == {}
    torch.save({"state_dict": {}, "evil": Hostile(print, "code ran")}, tmp_path / "b")
    with pytest.raises(WeightsError, match="could run code"):
        load_weights(create_model(NAME), tmp_path / "b")
    assert "code ran" not in capsys.readouterr().out


def test_a_classifier_of_timm_is_a_backbone(tmp_path: Path) -> None:
    import safetensors.torch

    network = create_model("hrnet_w32")
    trunk = {k: torch.full_like(v, 2) for k, v in network.state_dict().items() if not k.startswith("final_layer")}
    more = ("incre_modules.0.0.conv1", "downsamp_modules.0.0", "final_layer.0", "classifier")
    extra = {f"{name}.weight": torch.zeros(8, 8) for name in (*more, "stage4.2.fuse_layers.1.0.0")}
    safetensors.torch.save_file(trunk | extra, tmp_path / "model.safetensors")
    report = load_backbone(network, tmp_path / "model.safetensors")
    assert (report.loaded, report.missing) == (len(trunk), ())
    assert float(network.state_dict()["stage4.2.branches.0.0.conv1.weight"].mean()) == 2


def test_a_pose_network_of_the_zoo_is_a_backbone(tmp_path: Path) -> None:
    state = create_model(NAME, num_joints=21).state_dict()
    save_as_the_zoo(zoo_names(state, "head."), tmp_path / "zoo.pth")
    network = create_model(NAME, num_joints=17)
    assert load_backbone(network, tmp_path / "zoo.pth").missing == ()
    assert torch.equal(network.state_dict()["conv1.weight"], state["conv1.weight"])
