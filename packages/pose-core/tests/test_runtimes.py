"""What computes a network: measured, chosen by the work ahead, equal to PyTorch."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_core import measurements
from pose_core.cli import main
from pose_core.config import Experiment, ModelConfig
from pose_core.errors import ConfigError, PoseError
from pose_core.measurements import without_measurements
from pose_core.models.hrnet import HRNet, HRNetSpec, StageSpec
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.plugins.predictors import Predictor
from pose_core.runtimes import choice, onnx_files
from pose_core.runtimes.choice import Work, measure, ready_network
from pose_core.runtimes.networks import RuntimeNetwork, open_network, way_of
from pose_core.runtimes.ways import Runtime, Way, missing, ways
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.evaluate import evaluate_topdown
from pose_core.topdown.predictor import TopDownPredictor

CPU = torch.device("cpu")
NAME, SIZE = "small", (64, 64)
INSTALLED = [way for way in ways("bf16") if way.runtime != "torch" and not missing(way.runtime)]
needs_onnx = pytest.mark.skipif(bool(missing("onnxruntime")), reason="the extra pose-core[export] is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def small() -> nn.Module:
    """Return a network that is exported in a second, with a layer of each kind."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)
    return nn.Sequential(*layers, nn.Conv2d(8, 5, 1)).eval()


def experiment(**test: Any) -> Experiment:
    return Experiment.model_validate({"method": "lite", "model": ModelConfig(name=NAME, input_size=SIZE), "test": test})


def ready(network: nn.Module, images: int | None = None, **test: Any) -> nn.Module:
    config = experiment(**test)
    dtype = torch.bfloat16 if config.test.precision == "bf16" else None
    return ready_network(network, config, CPU, dtype=dtype, batch=1, images=images)


def remember(**milliseconds: float) -> None:
    work = Work(NAME, SIZE, 1)
    times = {way: each / 1000 for way, each in milliseconds.items()}
    measurements.remember("networks", {work.key: times, work.export_key: {"onnx": 5.0}})


def images(count: int) -> Tensor:
    return torch.randn(count, 3, *SIZE[::-1], generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def compare(found: nn.Module, network: nn.Module, tolerance: float) -> None:
    """Compare two networks at several batch sizes; the first call is special."""
    for count in (3, 1, 9):
        x = images(count)
        expected = network(x)
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            found(x.to(memory_format=torch.channels_last)), expected, rtol=0, atol=tolerance * scale
        )


@needs_onnx
def test_evaluation_scores_the_same_and_says_what_computed_it(tmp_path: Path) -> None:
    write_dataset(tmp_path / "coco", layout="coco", images=2, val_images=4, people=(1, 2), size=(160, 120), seed=3)
    config = TopDownConfig.model_validate(
        {
            "method": "lite",
            "data": {"layout": "coco", "root": str(tmp_path / "coco"), "skeleton": "coco17", "val": "val2017"},
            "model": {"name": "small", "input_size": (64, 64)},
            "heatmap": {"stride": 1},
            "test": {"batch_size": 4, "workers": 0},
        }
    )
    network = small()
    network[-1] = nn.Conv2d(8, 17, 1)
    plain = evaluate_topdown(network, config, CPU, tmp_path / "torch")
    test = config.test.model_copy(update={"runtime": "onnxruntime"})
    other = evaluate_topdown(network, config.model_copy(update={"test": test}), CPU, tmp_path / "onnxruntime")
    assert " runtime=onnxruntime " in other.report
    assert "runtime" not in plain.report
    assert other.metrics == pytest.approx(plain.metrics, abs=1e-6)
    entries = [json.loads(each.results.read_text()) for each in (plain, other) if each.results]
    assert len(entries[0]) == len(entries[1]) > 0
    # At near ties of two pixels rounding decides.
    moved = [np.abs(np.subtract(*(each["keypoints"] for each in pair))).max() for pair in zip(*entries, strict=True)]
    assert np.median(moved) < 0.01


@needs_onnx
def test_a_predictor_of_many_images_changes_and_one_of_few_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    network[-1] = nn.Conv2d(8, 17, 1)
    config = TopDownConfig.model_validate({"method": "lite", "model": {"name": "small", "input_size": (64, 64)}})
    predictor = Predictor(TopDownPredictor(network, config, get_skeleton("coco17"), CPU))
    work = Work("small", SIZE, 32)
    measurements.remember("networks", {work.key: {"torch": 3.2, "onnxruntime": 0.32}, work.export_key: {"onnx": 0.5}})
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    before = predictor.worker.network
    first = predictor([picture] * 8, detector="whole")
    assert predictor.worker.network is before
    second = predictor([picture] * 16, detector="whole")
    assert way_of(predictor.worker.network) == Way("onnxruntime")
    np.testing.assert_allclose(second[0].keypoints, first[0].keypoints, atol=0.01)
    predictor.worker.expect(1)
    assert predictor.worker.network is before


@pytest.mark.parametrize("way", INSTALLED, ids=str)
def test_every_runtime_computes_the_same(way: Way) -> None:
    network = small()
    found = ready(network, runtime=way.runtime, precision=way.precision)
    assert way_of(found) == way
    compare(found, network, 1e-4 if way.precision == "fp32" else 0.1)
    assert way_of(found) == way
    assert isinstance(found, RuntimeNetwork)
    assert found.reference is None


@pytest.mark.parametrize("way", [way for way in INSTALLED if way.precision == "fp32"], ids=str)
def test_what_a_runtime_cannot_read_is_one_line(way: Way) -> None:
    with pytest.raises(PoseError, match=f"{way.label} does not compute this network: ") as refused:
        open_network(way, b"no network", small())
    assert "\n" not in str(refused.value)
    assert "Exception from" not in str(refused.value)


class Pair(NamedTuple):
    heatmaps: Tensor
    offsets: Tensor


class TwoMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 8, 3, 2)

    def forward(self, x: Tensor) -> Pair:
        return Pair(self.first(x), self.second(x))


@pytest.mark.parametrize("way", [way for way in INSTALLED if way.precision == "fp32"], ids=str)
def test_outputs_keep_their_structure_at_any_size(way: Way) -> None:
    network = TwoMaps().eval()
    found = open_network(way, onnx_files.onnx_bytes(network, (64, 64), 16), optimize_for_inference(network, (64, 64)))
    with torch.inference_mode():
        for height, width in ((64, 64), (48, 80)):
            x = torch.randn(2, 3, height, width)
            output = found(x)
            assert isinstance(output, Pair)
            torch.testing.assert_close(output, network(x), rtol=0, atol=1e-4)


def test_pytorch_is_used_where_nothing_was_measured() -> None:
    assert way_of(ready(small(), images=10**6, runtime="torch")) == Way("torch")
    assert way_of(ready(small(), images=10)) == Way("torch")
    assert way_of(ready(small(), precision="bf16")) == Way("torch", "bf16")


@needs_onnx
def test_the_measured_choice_depends_on_the_work_ahead(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(torch=20, onnxruntime=10)
    # It saves 10 ms an image, and costs a second to start and five to export.
    assert way_of(ready(small())) == Way("torch")
    assert way_of(ready(small(), images=500)) == Way("torch")
    assert not capsys.readouterr().err
    assert not list(home.rglob("*.onnx"))
    assert way_of(ready(small(), images=700)) == Way("onnxruntime")
    assert "network: ONNX Runtime, 10 ms an image instead of 20" in capsys.readouterr().err
    # The file exists now: only the start is to be paid for.
    assert way_of(ready(small(), images=150)) == Way("onnxruntime")
    assert way_of(ready(small(), images=50)) == Way("torch")
    # Another batch size is other work; with another number of threads, the same is fastest.
    assert way_of(ready_network(small(), experiment(), CPU, dtype=None, batch=64, images=700)) == Way("torch")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert way_of(ready(small(), images=700)) == Way("onnxruntime")


def test_few_images_of_an_unknown_network_try_nothing() -> None:
    quick = nn.Identity()
    quick.register_forward_pre_hook(lambda *_: pytest.fail("the network was tried"))
    assert ready_network(small(), experiment(), CPU, dtype=None, batch=1, images=100, quick=quick) is quick


@needs_onnx
def test_a_measured_start_lets_few_images_profit(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(torch=20, onnxruntime=10)
    network, work = small(), Work(NAME, SIZE, 1)
    onnx_files.stored_network(network, SIZE, None, onnx_files.onnx_path(network, SIZE))
    assert way_of(ready(network, images=30)) == Way("torch")
    measurements.remember("networks", {work.start_key: {"onnxruntime": 0.1}})
    # Four images are computed by PyTorch, too.
    assert way_of(ready(network, images=20)) == Way("onnxruntime")
    monkeypatch.setattr(choice, "onnx_path", lambda *_: pytest.fail("the weights were read"))
    assert way_of(ready(network, images=15)) == Way("torch")


@needs_onnx
def test_a_slower_runtime_is_not_chosen() -> None:
    remember(torch=10, onnxruntime=10.1)
    assert way_of(ready(small(), images=10**6)) == Way("torch")


@needs_onnx
def test_a_training_is_evaluated_in_pytorch_whatever_was_measured() -> None:
    remember(torch=20, onnxruntime=10)
    with without_measurements():
        assert way_of(ready(small(), images=10**6)) == Way("torch")
        assert way_of(ready(small(), images=10**6, runtime="onnxruntime")) == Way("onnxruntime")
    assert way_of(ready(small(), images=10**6)) == Way("onnxruntime")


def test_a_runtime_that_is_gone_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(torch=20, onnxruntime=10, openvino=5)
    monkeypatch.setattr("pose_core.runtimes.ways.find_spec", lambda name: None)
    assert way_of(ready(small(), images=10**6)) == Way("torch")
    with pytest.raises(ConfigError, match=r"test.runtime=openvino needs onnx and onnxscript and openvino: .*install"):
        ready(small(), runtime="openvino")


def stand_ins(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """Replace both runtimes by one that computes right, but counts as ``slow``, and one that counts as quick."""

    def opened(way: Way, file: object, reference: nn.Module) -> RuntimeNetwork:
        def run(x: np.ndarray) -> Sequence[np.ndarray]:
            clock[0] += len(x) * (3.0 if way.runtime == slow else 1.0)
            return [reference(torch.from_numpy(x)).numpy()]

        return RuntimeNetwork(run, reference, way)

    clock = [0.0]
    monkeypatch.setattr(choice, "missing", lambda runtime: [])
    monkeypatch.setattr(choice, "open_network", opened)
    monkeypatch.setattr(choice, "onnx_bytes", lambda *_: b"")
    monkeypatch.setattr(choice, "stored_network", lambda *_: b"")

    class Clock:
        @staticmethod
        def read() -> float:
            clock[0] += 0.1
            return clock[0]

    monkeypatch.setattr(choice.time, "process_time", Clock.read)
    monkeypatch.setattr(choice.time, "perf_counter", Clock.read)


@pytest.mark.parametrize("slow", ["onnxruntime", "openvino"])
def test_measuring_finds_the_faster_one(slow: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins(monkeypatch, slow)
    found, refused = measure(small(), Work(NAME, SIZE, 1))
    assert not refused
    assert found[Way(slow)] > 2 * min(found[Way("openvino")], found[Way("onnxruntime")])
    remembered = measurements.recall("networks")
    assert remembered[Work(NAME, SIZE, 1).key] == {str(way): each for way, each in found.items()}
    assert remembered[Work(NAME, SIZE, 1).start_key].keys() == {"onnxruntime", "openvino"}


def test_a_long_evaluation_measures_first_and_the_next_one_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_ins(monkeypatch, "openvino")
    monkeypatch.setattr(choice, "_seconds", lambda *_: 1.0)
    ready(small(), images=200)
    assert not measurements.recall("networks")
    ready(small(), images=300)
    assert "measuring what computes small fastest" in capsys.readouterr().err
    assert measurements.recall("networks")
    ready(small(), images=300)
    assert "measuring" not in capsys.readouterr().err


def test_outputs_that_differ_are_pytorch_s_with_a_warning() -> None:
    network = small()
    wrong = RuntimeNetwork(lambda x: [network(torch.from_numpy(x)).detach().numpy() * 1.001], network, Way("openvino"))
    with pytest.warns(UserWarning, match="OpenVINO differ from PyTorch's by 1.0e-03 .* PyTorch is used instead"):
        first = wrong(images(6))
    assert way_of(wrong) == Way("torch")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(first, network(images(6)))
        torch.testing.assert_close(wrong(images(2)), network(images(2)))


@pytest.mark.parametrize("output", [np.full((1, 5, 64, 64), np.nan, np.float32), np.zeros((1, 5, 8, 8), np.float32)])
def test_what_is_no_output_at_all_differs(output: np.ndarray) -> None:
    network = small()
    wrong = RuntimeNetwork(lambda x: [output], network, Way("onnxruntime"))
    with pytest.warns(UserWarning, match="differ from PyTorch's by inf"):
        assert wrong(images(1)).shape == (1, 5, 64, 64)


def test_measured_outputs_that_differ_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_ins(monkeypatch, "openvino")
    right = choice.open_network

    def opened(way: Way, file: bytes, reference: nn.Module) -> RuntimeNetwork:
        if way.runtime == "openvino":
            return right(way, file, reference)
        return RuntimeNetwork(lambda x: [np.zeros(1, np.float32)], reference, way)

    monkeypatch.setattr(choice, "open_network", opened)
    with pytest.warns(UserWarning, match="ONNX Runtime differ"):
        found, refused = measure(small(), Work(NAME, SIZE, 1))
    assert set(found) == {Way("torch"), Way("openvino")}
    assert refused == {Way("onnxruntime"): "its outputs differ from PyTorch's"}


@needs_onnx
def test_a_damaged_file_is_written_again(home: Path) -> None:
    network = small()
    ready(network, runtime="onnxruntime")
    (file,) = home.rglob("*.onnx")
    file.write_bytes(b"damaged")
    compare(ready(network, runtime="onnxruntime"), network, 1e-4)
    assert file.stat().st_size > 1000


@needs_onnx
def test_other_weights_are_another_file_and_old_files_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "KEPT", 2)
    monkeypatch.setattr(onnx_files, "onnx_bytes", lambda *_: b"content")
    paths = []
    for number in range(3):
        network = nn.Conv2d(3, 1, 1, bias=number == 2)
        paths.append(onnx_files.onnx_path(network, SIZE))
        onnx_files.stored_network(network, SIZE, None, paths[-1])
        os.utime(paths[-1], (number, number))
    assert len(set(paths)) == 3
    assert [path.exists() for path in paths] == [False, True, True]


@needs_onnx
def test_a_cache_that_cannot_be_written_is_done_without(home: Path) -> None:
    home.write_text("no folder")
    compare(ready(small(), runtime="onnxruntime"), small(), 1e-4)


class Twisting(nn.Module):
    """A network whose steps depend on its input's values, which no file can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


@needs_onnx
def test_a_network_that_does_not_export_stays_in_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    remember(torch=20, onnxruntime=10)
    assert way_of(ready(Twisting(), images=10**6)) == Way("torch")
    assert "network: PyTorch; this network does not export" in capsys.readouterr().err
    with pytest.raises(PoseError, match="does not export"):
        ready(Twisting(), runtime="onnxruntime")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"runtime": "onnxruntime", "compile": True}, "does not go with test.compile=true"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, "computes in fp32 only: remove test.precision=bf16"),
    ],
)
def test_settings_that_exclude_each_other_are_named(
    test: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pose_core.runtimes.ways.find_spec", lambda name: True)
    with pytest.raises(ConfigError, match=message):
        ready(small(), **test)


def test_the_doctor_measures_networks_and_shows_the_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--networks"]) == 0
    assert "doctor --networks hrnet_w32" in capsys.readouterr().out
    monkeypatch.setattr("pose_core.runtimes.choice.BATCHES", (1,))
    stand_ins(monkeypatch, "openvino")
    seconds = {Way("torch"): 0.03, Way("onnxruntime"): 0.02, Way("torch", "bf16"): 0.04}
    monkeypatch.setattr(choice, "_times", lambda *_: seconds)
    assert main(["doctor", "--networks", "simplebaseline_resnet18"]) == 0
    printed = capsys.readouterr().out
    assert "simplebaseline_resnet18 256x192, batch 1, " in printed
    assert re.search(r"fp32 +onnxruntime +20.0 +fastest\n +torch +30.0 +1.50 times as long\n", printed)
    assert "simplebaseline_resnet18 without openvino" in printed
    assert main(["doctor", "--networks", "nosuch"]) == 2


def test_a_copy_for_inference_draws_no_random_numbers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4)).eval()
    before = torch.get_rng_state()
    optimize_for_inference(network, (48, 64))
    assert torch.equal(torch.get_rng_state(), before), "a training would go on with others after an evaluation"


def test_a_doubling_layer_and_a_batch_in_parts_compute_the_same() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8)).eval()
    quick = optimize_for_inference(network, (32, 24))
    assert any(type(module).__name__ == "_Doubling" for module in quick.modules())
    with torch.inference_mode():
        for count in (1, 11):
            x = torch.randn(count, 3, 24, 32)
            torch.testing.assert_close(quick(x), network(x), rtol=0, atol=1e-6)


def test_hrnet_in_parts_keeps_every_output() -> None:
    stages = tuple(StageSpec(1, 1, tuple(4 * 2**branch for branch in range(count))) for count in (2, 3, 4))
    network = HRNet(HRNetSpec(stages, 4, 1), 3).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        x = torch.randn(10, 3, 64, 64)
        torch.testing.assert_close(optimize_for_inference(network, (64, 64))(x), network(x), rtol=0, atol=1e-5)
