"""The logic of the scripts in shared/benchmark: what they subtract and predict, not the times."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "shared" / "benchmark"))  # the fuzzer has a run.py, too

import bench_loop
import load
import on_a_gpu
import scaling
import scaling_model
import stand_in
from baselines.average_by_tensor import AverageByTensor

from pose_core.engine.ema import Average
from pose_core.plugins.networks import create_model


def test_a_stand_in_has_the_modules_and_tensors_of_the_network() -> None:
    network = create_model("lpn_18")
    tiny = stand_in.StandIn(stand_in.outline(network))
    assert list(tiny.state_dict()) == list(network.state_dict())
    assert len(list(tiny.modules())) == len(list(network.modules()))
    tiny(torch.zeros(1)).backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_a_steady_drift_of_the_speed_cancels() -> None:
    plain = [1.0, 1.2, 1.4, 1.6]
    loop = [1.1 + 0.25, 1.3 + 0.25, 1.5 + 0.25]
    assert stand_in.own_cost(loop, plain) == pytest.approx([0.25] * 3)


def test_the_loop_is_timed_in_blocks(tmp_path: Path) -> None:
    shape = stand_in.outline(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    found = bench_loop.loop_seconds(shape, tmp_path, rounds=3, ema=0.9, block=10)
    assert len(found) == 3 + 1
    assert 0 < sorted(found)[2] < 1


def test_the_baseline_averages_the_same() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    averages = [AverageByTensor(network, 0.9), Average(network, 0.9)]
    for _ in range(3):
        network(torch.randn(4, 2))
        with torch.no_grad():
            network[0].weight.mul_(2)
        for average in averages:
            average.update()
    one, two = (average.network.state_dict() for average in averages)
    assert all(torch.allclose(one[name], two[name]) for name in one)
    assert int(one["1.num_batches_tracked"]) == 3


PIECES = scaling_model.Pieces(
    decode=2e-3, step=1e-3, sample=5e-4, host=5e-3, gradients=1e8, evaluation=10.0, scoring=0.1
)
CLUSTER = scaling_model.Cluster()
COUNTS = (1, 2, 4, 8, 16, 32, 64)


def test_a_prediction_is_as_fast_as_its_scarcest_resource() -> None:
    pieces = scaling_model.PredictionPieces(decode=2e-3, host=1e-3, device=1e-4, read=1e5, written=0.0, start=10.0)
    storage = scaling_model.Storage()
    limits = scaling_model.prediction_limits(pieces, CLUSTER, storage, 2, 8)
    expected = {"cores": 256 / 3e-3, "main threads": 16 / 1.1e-3, "devices": 16e4}
    assert limits == pytest.approx({**expected, "network of a node": 6e4, "shared disk": 4e5})
    seconds = scaling_model.prediction_seconds(pieces, CLUSTER, storage, 2, 8, 160_000)
    assert seconds == pytest.approx(10 + 11 + 0.55), "start, eleven seconds of work, half a shard"


def test_more_devices_are_faster_but_never_more_than_linearly() -> None:
    rates = [scaling_model.samples_per_second(PIECES, CLUSTER, count, 64, 150_000) for count in COUNTS]
    assert rates == sorted(rates)
    assert all(rate <= count * rates[0] * 1.001 for rate, count in zip(rates, COUNTS, strict=True))
    cheap = replace(PIECES, gradients=0.0)
    assert scaling_model.samples_per_second(cheap, CLUSTER, 16, 64) >= scaling_model.samples_per_second(
        PIECES, CLUSTER, 16, 64
    )


def test_one_process_takes_what_was_measured() -> None:
    assert scaling_model.step_seconds(PIECES, CLUSTER, 1, 64) == pytest.approx(1e-3 + 64 * 5e-4)
    assert scaling_model.reduce_seconds(PIECES, CLUSTER, 1) == 0
    seconds = 150_000 / 64 * (1e-3 + 64 * 5e-4) + 10.1
    assert scaling_model.samples_per_second(PIECES, CLUSTER, 1, 64, 150_000) == pytest.approx(150_000 / seconds)


@pytest.mark.parametrize(
    ("changes", "cluster", "expected"),
    [
        ({}, CLUSTER, "device"),
        ({"decode": 2e-2}, CLUSTER, "decoding"),
        ({"host": 0.1}, CLUSTER, "host"),
        ({}, replace(CLUSTER, link=1e9), "gradients"),
        ({"evaluation": 1e4}, CLUSTER, "evaluation"),
    ],
)
def test_the_bottleneck_is_what_was_made_slow(
    changes: dict[str, float], cluster: scaling_model.Cluster, expected: str
) -> None:
    assert scaling_model.bottleneck(replace(PIECES, **changes), cluster, 8, 64, 150_000) == expected


def test_cores_that_compute_and_decode_take_turns() -> None:
    cores = scaling_model.Cluster(2, 2, overlap=0.0, on_cores=True, link=1e9, latency=0.0)
    pieces = replace(PIECES, host=0.0, sample=5e-3)
    computing = 1e-3 + 10 * 5e-3
    # One process leaves a core to its loader; of two, each has one core for both, and sums the gradients.
    assert scaling_model.step_seconds(pieces, cores, 1, 10) == pytest.approx(computing)
    assert scaling_model.step_seconds(pieces, cores, 2, 10) == pytest.approx(computing + 0.1 + 10 * 2e-3)
    crowded = replace(cores, crowding=1.5)
    assert scaling_model.step_seconds(pieces, crowded, 2, 10) == pytest.approx(1.5 * computing + 0.1 + 10 * 2e-3)


def test_the_prediction_is_drawn(tmp_path: Path) -> None:
    rows = scaling.predicted_rows("a network", PIECES, CLUSTER, 64)
    assert [row["GPUs"] for row in rows] == list(COUNTS)
    scaling.draw(rows, "title", tmp_path / "rate.svg")
    assert "<svg" in (tmp_path / "rate.svg").read_text()


def test_what_needs_a_gpu_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["on_a_gpu.py"])
    assert on_a_gpu.main() == 1
    assert capsys.readouterr().err.startswith("error: PyTorch finds no GPU")
    monkeypatch.setattr(sys, "argv", ["on_a_gpu.py", "--device", "cpu"])
    assert on_a_gpu.main() == 1
    assert "--tiny" in capsys.readouterr().err


def test_parts_beyond_the_time_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    setting = on_a_gpu.Setting(torch.device("cpu"), tiny=True, data=tmp_path)
    found = on_a_gpu.measure_all(["kernels"], setting, minutes=0.1)
    assert found["kernels"]["rows"] == []
    assert "--only kernels" in capsys.readouterr().out


def test_a_part_that_takes_too_long_or_fails_ends_only_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setting = on_a_gpu.Setting(torch.device("cpu"), tiny=True, data=tmp_path / "missing")
    assert on_a_gpu.measure_apart("kernels", setting, tmp_path / "rows.json", 0.01).startswith("stopped after")


@pytest.mark.slow
def test_every_part_for_a_gpu_runs_at_toy_sizes(tmp_path: Path) -> None:
    on_a_gpu.write_data(tmp_path, tiny=True)
    setting = on_a_gpu.Setting(torch.device("cpu"), tiny=True, data=tmp_path)
    for name in on_a_gpu.parts(tiny=True):
        if name == "inference":
            on_a_gpu.measure_apart(name, setting, tmp_path / f"{name}.json", 120)
        else:
            on_a_gpu.measure(name, setting, tmp_path / f"{name}.json")
        rows = json.loads((tmp_path / f"{name}.json").read_text())
        assert rows
        assert all(row.get("agrees", "yes") == "yes" for row in rows)
        for row in rows:
            assert all(value > 0 for key, value in row.items() if key.startswith(("samples/s", "images/s", "step, ms")))


def test_large_inputs_are_measured_small() -> None:
    words = ["--images", "20", "--people", "30", "--evaluated", "20", "--results", "40"]
    rows = load.main([*words, "--parts", "reading", "evaluation"])
    assert [row["what"] for row in rows] == [
        "reading, cold", "reading, cached", "evaluation", "evaluation, pycocotools",
    ]  # fmt: skip
    assert rows[0]["size"] == "30 people"
    assert all(float(str(row["CPU s"])) > 0 and 10 < float(str(row["peak MB"])) < 1000 for row in rows)


def test_memory_of_a_run_is_told_at_three_moments() -> None:
    samples = [(float(number), number / 2) for number in range(101)]
    row = load.of_run("training", "1 step", 7.3, samples)
    assert row == {
        "what": "training", "size": "1 step", "wall s": 7, "start MB": "20 + 10", "middle MB": "60 + 30",
        "end MB": "95 + 48",
    }  # fmt: skip
