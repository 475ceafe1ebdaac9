"""Weights from files: every wrapping the field knows, and clear words for what does not fit."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from pose_core.errors import WeightsError
from pose_core.models.catalog import create_model
from pose_core.models.initialise import load_trunk
from pose_core.models.weights import load_weights, save_weights

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


def test_a_mismatch_names_the_network_the_file_is_for(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match=NAME):
        load_weights(create_model("hrnet_w18_small_v2"), state)
    with pytest.raises(WeightsError, match=r"hrnet_w18_small_v1_4x64.*|.*mismatched"):
        load_weights(create_model(NAME), create_model("hrnet_w18_small_v1_4x64").state_dict())


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


def test_a_trunk_of_another_depth_is_refused(tmp_path: Path) -> None:
    torch.save(create_model("simplebaseline_resnet34").state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(WeightsError, match="does not exist"):
        load_trunk(create_model("simplebaseline_resnet18"), tmp_path / "missing.pth")
    torch.save(create_model(NAME).state_dict(), tmp_path / "hrnet.pth")
    with pytest.raises(WeightsError, match="does not fit"):
        load_trunk(create_model("simplebaseline_resnet50"), tmp_path / "hrnet.pth")
