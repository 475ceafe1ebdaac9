"""`pose benchmark`: its figures are of the right things; no test asserts a time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch

from pose_core.benchmark import stages
from pose_core.benchmark.networks import Subject, measure_network, subjects, tensors
from pose_core.benchmark.stages import Stage
from pose_core.benchmark.timing import peak_megabytes, seconds_of
from pose_core.cli import main
from pose_core.method import Method

CPU = torch.device("cpu")
SMALL = ["--input", "64x64", "--seconds", "0.01", "--device", "cpu"]


def test_the_median_is_of_as_many_calls_as_asked_after_one_to_warm_up() -> None:
    calls = []
    assert seconds_of(lambda: calls.append(None), CPU, budget=0, least=5) > 0
    assert len(calls) == 6


def test_peak_memory_counts_what_lives_at_the_same_time() -> None:
    mega = 2**18  # floats in a megabyte

    def work() -> torch.Tensor:
        first = torch.zeros(4 * mega)
        second = torch.ones(2 * mega)
        del first
        third = torch.ones(1 * mega)
        third.add_(1)  # in place: nothing new
        return second.view(2, -1)[0] + third  # a view is nothing new, a sum is

    assert peak_megabytes(work, CPU) == pytest.approx(6, abs=0.01)


def test_every_kind_of_output_is_found() -> None:
    nested = {"a": torch.zeros(1), "b": [torch.zeros(2), (torch.zeros(3), [torch.zeros(4)])], "c": "text"}
    assert [len(tensor) for tensor in tensors(nested)] == [1, 2, 3, 4]


def test_a_network_is_measured_as_named() -> None:
    row = measure_network(Subject("hrnet_w18_small_v1", "lite", (64, 64), 14), CPU, budget=0.01)
    assert (row.input, row.joints) == ("64x64", 14)
    assert row.parameters == 1_338_337 - 3 * 17  # three joints fewer: 16 weights and a bias each
    assert min(row.latency_ms, row.throughput, row.memory_mb) > 0
    assert row.training is not None
    fast = measure_network(
        Subject("hrnet_w18_small_v1", "lite", (64, 64), 14), CPU, fast=True, training=False, budget=0.01
    )
    assert fast.parameters == row.parameters
    assert fast.training is None


def test_networks_without_an_experiment_are_measured_at_256x192() -> None:
    assert [s.input_size for s in subjects("simplebaseline_resnet18")] == [(192, 256)]
    assert [s.input_size for s in subjects("hrnet_w32", (64, 96))] == [(64, 96)]


def own_stages(device: torch.device) -> list[Stage]:
    return [Stage("a method's own", "things", 3, lambda: torch.ones(3, device=device))]


def test_every_stage_runs_those_of_methods_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Method("made-up", "made_up", "", stages=f"{__name__}:own_stages")
    monkeypatch.setattr(stages, "installed_methods", lambda: {"made-up": method})
    rows = stages.stage_rows(tmp_path, CPU, workers=0, budget=0)
    assert len({row.stage for row in rows}) == len(rows) >= 9
    assert all(row.rate > 0 for row in rows)
    assert (rows[-1].stage, rows[-1].unit) == ("a method's own", "things")


def test_the_command_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "simplebaseline_resnet18", *SMALL, "--no-training", "--out"]
    assert main([*words, str(tmp_path / "a")]) == 0
    assert "| simplebaseline_resnet18 |" in capsys.readouterr().out
    content = json.loads((tmp_path / "a" / "benchmark.json").read_text())
    assert content["versions"]["torch"] == torch.__version__.split("+")[0] or content["versions"]["torch"]
    assert len(content["networks"]) == len([row for row in content["networks"] if row["gmacs"] > 0])
    assert cv2.imread(str(tmp_path / "a" / "benchmark.png")).shape[2] == 3

    # Twice as fast, by the files.
    for row in content["networks"]:
        row["latency_ms"] /= 2
        row["throughput"] *= 2
    (tmp_path / "b.json").write_text(json.dumps(content))
    files = [str(tmp_path / "a" / "benchmark.json"), str(tmp_path / "b.json")]
    assert main(["benchmark", "--compare", *files]) == 0
    assert "| simplebaseline_resnet18 64x64 | 2.00 | 2.00 | 1.00 |" in capsys.readouterr().out


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "nothing*", *SMALL]) == 2
    assert "no network matches" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{}")
    assert main(["benchmark", "--compare", str(tmp_path / "a.json"), str(tmp_path / "none.json")]) == 3
    assert "is no file of `pose benchmark`" in capsys.readouterr().err
    assert main(["benchmark", "--input", "256", "--out", str(tmp_path)]) == 2
    assert "height x width" in capsys.readouterr().err
    assert main(["benchmark", "simplebaseline_resnet18", "--input", "60x64", "--out", str(tmp_path)]) == 2
    assert "multiples of 32" in capsys.readouterr().err
