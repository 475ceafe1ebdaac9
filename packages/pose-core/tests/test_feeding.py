"""What a training step costs besides its work: batches, agreement of processes, constants on the device."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from pose_core.engine import distributed
from pose_core.engine.distributed import Agreement, ProcessContext
from pose_core.engine.feeding import Feed, samples_per_step
from pose_core.engine.precision import fixed_sizes
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, PoseError
from pose_core.ops.constants import constant
from pose_testing.tiny_task import Plane, Tiny, config

CPU = torch.device("cpu")


def test_a_batch_per_process_grows_with_their_number(tmp_path: Path) -> None:
    settings = config(tmp_path, batch_per_process=2)
    assert [samples_per_step(settings, processes) for processes in (1, 2, 5)] == [2, 4, 10]
    together = [Feed(Plane(), settings, ProcessContext(rank, 2, CPU)) for rank in range(2)]
    alone = Feed(Plane(), config(tmp_path, batch_size=4), ProcessContext(0, 1, CPU))
    assert together[0].steps_per_epoch == alone.steps_per_epoch == 5
    keys = [islice(feed._keys(3, lambda: 9), 7) for feed in (alone, *together)]
    for whole, *halves in zip(*keys, strict=True):
        assert whole == [key for half in halves for key in half]
    with pytest.raises(ConfigError, match=r"train\.batch_per_process=2 cannot be divided among 2 processes"):
        samples_per_step(config(tmp_path, batch_per_process=2, accumulate=4), 2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "20 samples, 5 steps per epoch, 15 steps of 4 samples on cpu, "),
        ({"accumulate": 2}, "15 steps of 4 samples, 2 at a time, on cpu, "),
    ],
)
def test_a_run_says_what_a_step_is(tmp_path: Path, settings: dict[str, int], text: str) -> None:
    assert text in (train(Tiny(config(tmp_path, **settings))).folder / "log.txt").read_text()


def test_processes_agree_about_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], []

    def largest(values: list[int]) -> list[int]:
        asked.append(now[0])
        return values

    monkeypatch.setattr(distributed.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "max_over_processes", largest)
    monkeypatch.setattr(distributed.time, "monotonic", lambda: now[0])
    agreement = Agreement()
    for step in range(1, 101):  # fast steps, then slow ones
        now[0] += 0.05 if step <= 60 else 3.0
        stop = agreement.any(step >= 90, step)
        assert not stop or step >= 90
    fast = [time for time in asked if time <= 3]
    assert 2 <= len(fast) <= 6
    # After a slow interval, the others are asked at each slow step.
    assert [round(b - a, 2) for a, b in zip(asked[-8:-1], asked[-7:], strict=True)] == [3.0] * 7
    assert agreement.any(True, 101, now=True)


def test_processes_that_cannot_connect_are_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Gloo connectFullMesh failed with timed out\nmore")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed.dist, "init_process_group", refuse)
    with (
        pytest.raises(PoseError, match=r"could not connect to each other: Gloo connectFullMesh failed with timed out$"),
        distributed.process_group("cpu"),
    ):
        pass


def test_constants_are_copied_once_and_can_be_trained_with() -> None:
    with torch.inference_mode():
        first = constant((1.5, 2.5), CPU)
    assert constant((1.5, 2.5), CPU) is first
    assert constant((1.5, 2.5), CPU, torch.float64).dtype == torch.float64
    weight = torch.ones(2, requires_grad=True)
    (weight * first).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [1.5, 2.5]
    compiled = torch.compile(lambda x: x * constant((1.5, 2.5), x.device), backend="eager", fullgraph=True)
    assert compiled(torch.ones(2)).tolist() == [1.5, 2.5]


def test_algorithms_are_measured_only_in_training_and_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", False)
    with fixed_sizes(torch.device("cuda", 0)):
        assert cudnn.benchmark
    with fixed_sizes(CPU):
        assert not cudnn.benchmark
    monkeypatch.setattr(cudnn, "deterministic", True)
    with fixed_sizes(torch.device("cuda", 0)):
        assert not cudnn.benchmark
