"""Weights from files: all usual checkpoint formats, and clear errors for weights that do not fit."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_core.errors import WeightsError
from pose_core.models.initialize import load_backbone
from pose_core.models.resnet import ResNetBackbone
from pose_core.models.weights import read_checkpoint, save_weights
from pose_core.plugins.networks import create_model, load_weights

NAME = "hrnet_w18_small_v1"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return create_model(NAME, num_joints=17).state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrap", [None, "state_dict", "best_state_dict", "model", "weights"])
def test_every_wrapping_loads(state: dict[str, torch.Tensor], tmp_path: Path, prefix: str, wrap: str | None) -> None:
    content = OrderedDict((prefix + key, value) for key, value in state.items())
    file = tmp_path / "file.pth.tar"
    torch.save({wrap: content, "epoch": 3, "perf": 0.5} if wrap else content, file)
    model = create_model(NAME, num_joints=17)
    report = load_weights(model, file)
    assert report.complete
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_double_weights_load_into_a_float_network(state: dict[str, torch.Tensor]) -> None:
    model = create_model(NAME, num_joints=17)
    load_weights(model, {k: v.double() if v.is_floating_point() else v for k, v in state.items()})
    assert model.conv1.weight.dtype == torch.float32


def test_saved_weights_load(tmp_path: Path) -> None:
    model = create_model(NAME)
    save_weights(model, tmp_path / "deep" / "w.pt")
    assert load_weights(create_model(NAME), tmp_path / "deep" / "w.pt").complete


def test_old_files_without_batch_counters_load(state: dict[str, torch.Tensor]) -> None:
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert load_weights(create_model(NAME), old).complete
    with pytest.raises(WeightsError, match=f"fits {NAME}$"):
        load_weights(create_model("hrnet_w18_small_v2"), old)


def test_a_training_checkpoint_with_numpy_scores_loads(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    content = {"epoch": 210, "model": "pose_hrnet", "state_dict": state, "perf": np.float64(0.744), "n": np.int64(3)}
    torch.save(content, tmp_path / "checkpoint.pth")
    assert load_weights(create_model(NAME), tmp_path / "checkpoint.pth").complete
    assert read_checkpoint(tmp_path / "checkpoint.pth")["perf"] == 0.744


@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), kept=st.integers(0, 10_000), old=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_raises_nothing_but_our_error(
    tmp_path: Path, place: int, byte: int, kept: int, old: bool
) -> None:
    file, model = tmp_path / "damaged.pth", torch.nn.Conv2d(3, 4, 3)
    content = {"state_dict": model.state_dict(), "perf": np.float64(0.5), "sigmas": np.ones((2, 3), np.float32)}
    torch.save(content, file, _use_new_zipfile_serialization=not old)
    data = bytearray(file.read_bytes())
    data[place % len(data)] = byte
    file.write_bytes(data[: len(data) - max(kept - 9_000, 0)])
    with suppress(WeightsError):  # no other error; and some bytes matter to nobody
        load_weights(model, file)


def test_safetensors_are_written_and_read(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model = create_model(NAME)
    model.load_state_dict(state)
    save_weights(model, tmp_path / "w.safetensors")
    assert load_weights(create_model(NAME), tmp_path / "w.safetensors").complete
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:3000])
    with pytest.raises(WeightsError, match=r"cut\.safetensors is damaged"):
        load_weights(model, tmp_path / "cut.safetensors")


def test_a_mismatch_names_the_network_the_file_is_for(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match=NAME):
        load_weights(create_model("hrnet_w18_small_v2"), state)
    with pytest.raises(WeightsError, match=r"the file fits hrnet_w18_small_v1_4x64$"):
        load_weights(create_model(NAME), create_model("hrnet_w18_small_v1_4x64").state_dict())
    deeper = create_model("simplebaseline_resnet101").state_dict()
    with pytest.raises(WeightsError, match=r"fits simplebaseline_resnet101 or simplebaseline_resnet101_caffe$"):
        load_weights(create_model("simplebaseline_resnet50"), deeper)


def test_an_imagenet_file_is_sent_to_the_backbone() -> None:
    file = {**ResNetBackbone(18).state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    with pytest.raises(WeightsError, match=r"ImageNet classifier's: give it as model\.pretrained"):
        load_weights(create_model("simplebaseline_resnet18"), file)


def test_another_number_of_joints_is_said(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match="the file has 17 joints, the network 16"):
        load_weights(create_model(NAME, num_joints=16), state)


def test_not_strict_loads_what_fits(state: dict[str, torch.Tensor]) -> None:
    report = load_weights(create_model(NAME, num_joints=16), state, strict=False)
    assert set(report.mismatched) == {"final_layer.weight", "final_layer.bias"}
    assert "mismatched 2" in str(report)


def test_faults_are_named(tmp_path: Path) -> None:
    model = create_model(NAME)
    with pytest.raises(WeightsError, match=r"none\.pt does not exist"):
        load_weights(model, tmp_path / "none.pt")
    (tmp_path / "junk.pt").write_bytes(b"no checkpoint at all")
    with pytest.raises(WeightsError, match=r"junk\.pt"):
        load_weights(model, tmp_path / "junk.pt")
    (tmp_path / "config.yaml").write_text("train: {lr: 1.0}\n")
    with pytest.raises(WeightsError, match=r"config\.yaml is not a PyTorch checkpoint"):
        load_weights(model, tmp_path / "config.yaml")
    torch.save({"epoch": 1}, tmp_path / "empty.pt")
    with pytest.raises(WeightsError, match="holds no network"):
        load_weights(model, tmp_path / "empty.pt")
    whole = tmp_path / "whole.pt"
    save_weights(model, whole)
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"cut\.pt is damaged"):
        load_weights(model, tmp_path / "cut.pt")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "evil": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsError, match="could run code"):
        load_weights(create_model(NAME), tmp_path / "evil.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(WeightsError):
        load_weights(create_model(NAME), tmp_path / "old.pt")
    assert "code ran" not in capsys.readouterr().out


def test_a_backbone_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = create_model("simplebaseline_resnet50")
    with pytest.raises(WeightsError, match="does not exist"):
        load_backbone(model, tmp_path / "missing.pth")
    for name, why in {
        "simplebaseline_resnet101": r"it fits up to layer3\.6\.",
        "simplebaseline_resnet34": r"layer1\.0\.conv1\.weight is \(64, 64, 3, 3\) in the file",
        NAME: r"conv1\.weight is \(64, 3, 3, 3\) in the file",
    }.items():
        torch.save(create_model(name).state_dict(), tmp_path / f"{name}.pth")
        with pytest.raises(WeightsError, match=why):
            load_backbone(model, tmp_path / f"{name}.pth")
    torch.save({"features.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no layer has its name"):
        load_backbone(model, tmp_path / "other.pth")


def test_a_shallower_backbone_says_which_blocks_it_leaves(tmp_path: Path) -> None:
    torch.save(ResNetBackbone(18).state_dict(), tmp_path / "resnet18.pth")
    report = load_backbone(create_model("simplebaseline_resnet34"), tmp_path / "resnet18.pth")
    assert {key.rsplit(".", 2)[0] for key in report.missing} >= {"layer1.2", "layer4.2"}
    assert not any(key.startswith(("deconv_layers", "final_layer")) for key in report.missing)


def test_a_backbone_from_other_joints_leaves_the_last_layer(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "coco.pth")
    model = create_model(NAME, num_joints=4)
    before = model.final_layer.weight.clone()
    report = load_backbone(model, tmp_path / "coco.pth")
    assert report.loaded == len(state) - 2
    assert not report.missing
    assert torch.equal(model.final_layer.weight, before)


def test_only_the_named_layers_of_a_backbone_load(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "coco.pth")
    model = create_model(NAME)
    before = model.layer1[0].conv1.weight.clone()
    load_backbone(model, tmp_path / "coco.pth", layers=["conv1", "bn1"])
    assert torch.equal(model.conv1.weight, state["conv1.weight"])
    assert torch.equal(model.layer1[0].conv1.weight, before)
