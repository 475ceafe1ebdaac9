"""The engine on a tiny task: schedules, averages, accumulation, exact resuming, refusals."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_core.config import TrainConfig
from pose_core.data.sampler import loader_workers
from pose_core.engine import budget
from pose_core.engine.budget import fastest_settings, load_batch, measure_speed, remaining_share
from pose_core.engine.distributed import choose_device, gather_objects, process_group
from pose_core.engine.ema import Average
from pose_core.engine.interfaces import Update
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.overfit import overfit
from pose_core.engine.run_log import RunLog
from pose_core.engine.schedule import lr_factor
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, PoseError
from pose_core.models.weights import load_weights
from pose_testing.tiny_task import Points, Squares, Tiny, config, equal, weights


def test_multistep_follows_the_published_formula() -> None:
    settings = TrainConfig(milestones=(2, 3), factor=0.1)
    factors = [lr_factor(settings, step, 10, 40) for step in (0, 19, 20, 29, 30, 39)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("schedule", ["multistep", "cosine", "onecycle", "constant"])
def test_schedules_stay_between_zero_and_one_and_warm_up(schedule: str) -> None:
    settings = TrainConfig(schedule=schedule, warmup=10)  # type: ignore[arg-type]
    factors = [lr_factor(settings, step, 100, 1000) for step in range(1000)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[0] < 0.01
    assert max(factors) > 0.9
    if schedule in {"cosine", "onecycle"}:
        assert factors[-1] < 1e-3


def test_the_average_forgets_its_random_start_and_then_moves_slowly() -> None:
    network = nn.BatchNorm1d(3)
    average = Average(network, 0.999)
    with torch.no_grad():
        network.weight.fill_(5)
    network(torch.randn(4, 3))
    for _ in range(200):
        average.update()
    assert average.network.weight[0].item() == pytest.approx(5, abs=0.1)
    assert average.network.num_batches_tracked == 1


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_accumulated_micro_batches_step_like_the_whole(optimizer: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    found = []
    for parts in (1, 4):
        torch.manual_seed(1)
        network = nn.Linear(4, 1)
        settings = TrainConfig(accumulate=parts, optimizer=optimizer, lr=0.1, clip_norm=1.0)  # type: ignore[arg-type]
        updater = Updater(
            {"pose": network}, {"pose": build_optimizer(network, settings, torch.device("cpu"))}, settings
        )
        for number, part in enumerate(Points(x, y).split(parts)):
            with updater.micro_batch(number):
                updater("pose", (network(part.x) - part.y).square().mean())
        found.append(network.weight.detach().clone())
    assert torch.allclose(found[0], found[1], atol=1e-6)


def test_each_network_may_have_a_rate_of_its_own() -> None:
    networks = {"pose": nn.Linear(1, 1), "other": nn.Linear(1, 1)}
    settings = TrainConfig()
    cpu = torch.device("cpu")
    updater = Updater(networks, {name: build_optimizer(net, settings, cpu) for name, net in networks.items()}, settings)
    updater.set_lr({"pose": 0.5, "other": 0.25})
    assert [updater.optimizers[name].param_groups[0]["lr"] for name in ("pose", "other")] == [0.5, 0.25]
    updater.set_lr(0.125)
    assert [updater.optimizers[name].param_groups[0]["lr"] for name in ("pose", "other")] == [0.125, 0.125]


def test_a_run_leaves_its_files_and_the_best_weights(tmp_path: Path) -> None:
    result = train(Tiny(config(tmp_path)))
    folder = tmp_path / "tiny"
    assert result.step == 15
    assert {p.name for p in folder.iterdir()} >= {
        "config.yaml",
        "log.txt",
        "metrics.jsonl",
        "last.pt",
        "best.pt",
        "tensorboard",
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "val"] == [5, 10, 15]
    assert rows[0]["lr"] == pytest.approx(1e-3)
    assert load_weights(Tiny(config(tmp_path)).networks()["pose"], folder / "best.pt").complete


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 14])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_resumed_run_ends_with_the_very_same_weights(tmp_path: Path, stop: int, ema: float) -> None:
    whole = train(Tiny(config(tmp_path / "whole", ema=ema)))
    train(Tiny(config(tmp_path / "parts", ema=ema, iterations=stop)))
    longer = config(tmp_path / "parts", ema=ema, iterations=15)
    resumed = train(Tiny(longer), resume=True)
    assert resumed.step == 15
    assert equal(weights(whole), weights(resumed))
    steps = [json.loads(line)["step"] for line in (resumed.folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_equal_seeds_train_equal_networks_and_others_do_not(tmp_path: Path) -> None:
    one, two = train(Tiny(config(tmp_path / "1"))), train(Tiny(config(tmp_path / "2")))
    assert equal(weights(one), weights(two))
    other = config(tmp_path / "3")
    other = other.model_copy(update={"run": other.run.model_copy(update={"seed": 7})})
    assert not equal(weights(one), weights(train(Tiny(other))))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16"},
        {"channels_last": False, "clip_norm": 0.5},
        {"accumulate": 2},
        {"schedule": "onecycle", "warmup": 3},
        {"optimizer": "sgd", "nesterov": True},
        {"checkpoint_every": 2, "validate_every": 0},
    ],
    ids=str,
)
def test_options_work_together(tmp_path: Path, options: dict[str, Any]) -> None:
    result = train(Tiny(config(tmp_path, **options)))
    assert all(torch.isfinite(value).all() for value in weights(result).values())


def test_a_folder_with_a_run_is_not_written_over(tmp_path: Path) -> None:
    train(Tiny(config(tmp_path)))
    with pytest.raises(ConfigError, match="--resume"):
        train(Tiny(config(tmp_path)))
    assert train(Tiny(config(tmp_path, epochs=1)), overwrite=True).step == 5


def test_resuming_with_other_settings_names_them(tmp_path: Path) -> None:
    train(Tiny(config(tmp_path, epochs=1)))
    with pytest.raises(ConfigError, match=r"train\.lr: 0.001 before, 0.5 now"):
        train(Tiny(config(tmp_path, epochs=1, lr=0.5)), resume=True)
    assert train(Tiny(config(tmp_path, epochs=2, log_every=1)), resume=True).step == 10


def test_resuming_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no run in .*/tiny\. To start it"):
        train(Tiny(config(tmp_path, epochs=1)), resume=True)
    assert not any(tmp_path.iterdir())
    train(Tiny(config(tmp_path, epochs=1)))
    mistyped = config(tmp_path, epochs=1)
    mistyped = mistyped.model_copy(update={"run": mistyped.run.model_copy(update={"name": "tinny"})})
    with pytest.raises(ConfigError, match=r"did you mean .*/tiny \(run\.name=…\)\?.*--resume=auto"):
        train(Tiny(mistyped), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_job_that_may_be_restarted_starts_and_resumes(tmp_path: Path) -> None:
    assert train(Tiny(config(tmp_path, epochs=1)), resume="auto").step == 5
    assert "nothing to resume" in (tmp_path / "tiny" / "log.txt").read_text()
    assert train(Tiny(config(tmp_path, epochs=2)), resume="auto").step == 10
    # Stopped before its first checkpoint: the folder is this run's, so that nothing was mistyped.
    for name in ("last.pt", "last-1.pt", "best.pt"):
        (tmp_path / "tiny" / name).unlink()
    (tmp_path / "tiny/metrics.jsonl").write_bytes(b"")
    assert train(Tiny(config(tmp_path, epochs=1)), resume=True).step == 5


def test_a_loader_has_no_more_processes_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert [loader_workers(asked) for asked in (0, 1, 2, 4)] == [0, 1, 2, 2]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="not finite at step 8"):
        train(Tiny(config(tmp_path, checkpoint_every=1), poison=8))
    content = torch.load(tmp_path / "tiny" / "last.pt", weights_only=True)
    assert content["step"] == 7
    assert all(torch.isfinite(value).all() for value in content["networks"]["pose"].values())


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch_size=4"):
        train(Tiny(config(tmp_path, accumulate=3)))
    with pytest.raises(ConfigError, match=r"train\.batch_size"):
        train(Tiny(config(tmp_path, batch_size=40, accumulate=2)))


def test_devices_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="abacus"):
        choose_device("abacus")
    with pytest.raises(ConfigError, match="no such GPU"):
        choose_device("cuda:99")


def test_one_process_needs_no_environment() -> None:
    with process_group("cpu") as place:
        assert place.is_main
        assert gather_objects("x") == ["x"]


def test_metrics_beyond_the_checkpoint_are_dropped_when_a_run_goes_on(tmp_path: Path) -> None:
    rows = [{"split": "train", "step": step, "epoch": 0, "loss": 1.0} for step in (2, 4, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"split": "tr')
    with RunLog(tmp_path, is_main=True, step=4) as log:
        log.record("train", 5, 0, {"loss": 2.0})
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 5]


def test_overfitting_says_whether_it_learned(tmp_path: Path) -> None:
    settings = config(tmp_path, lr=0.05)
    good = overfit(Tiny, settings, images=8, steps=300)
    assert good.last_loss < good.first_loss
    short = overfit(Tiny, settings, images=8, steps=1)
    assert not short.learned
    assert "pose data browse" in str(short)


def test_a_run_that_breaks_at_once_leaves_where_it_began(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="not finite at step 2"):
        train(Tiny(config(tmp_path), poison=1))
    content = torch.load(tmp_path / "tiny" / "last.pt", weights_only=True)
    assert content["step"] == 0
    assert all(torch.isfinite(value).all() for value in content["networks"]["pose"].values())
    again = train(Tiny(config(tmp_path)), resume=True)
    assert equal(weights(again), weights(train(Tiny(config(tmp_path / "other")))))


def test_a_training_whose_length_was_changed_resumes_exactly(tmp_path: Path) -> None:
    def shorten(step: int, total: int) -> int:
        return 11 if step == 4 else total

    class Stop(Exception):
        pass

    def stop(step: int, total: int) -> int:
        if step == 8:
            raise Stop
        return shorten(step, total)

    settings = {"schedule": "onecycle", "checkpoint_every": 1, "validate_every": 0}
    whole = train(Tiny(config(tmp_path / "whole", **settings)), pace=shorten)
    assert whole.step == 11
    with pytest.raises(Stop):
        train(Tiny(config(tmp_path / "parts", **settings)), pace=stop)
    resumed = train(Tiny(config(tmp_path / "parts", **settings)), resume=True)
    assert resumed.step == 11
    assert equal(weights(whole), weights(resumed))
    assert remaining_share(resumed.folder / "last.pt") == 0
    assert remaining_share(tmp_path / "none.pt") == 1
    assert "training ends after 11 steps, not 15" in (whole.folder / "log.txt").read_text()


def test_the_fastest_settings_win_and_more_threads_are_tried_while_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    tried = []

    def task(settings: dict[str, str]) -> Tiny:
        return Tiny(config(Path(), precision=settings["train.precision"], channels_last="last" in str(settings)))

    def measure(task: Tiny, batch: object, end: float, best: float) -> float:
        tried.append((task.config.train.precision, threads[-1]))
        return {"fp32": 10.0, "bf16": 19.0}[task.config.train.precision] * min(threads[-1], 4)

    monkeypatch.setattr(budget, "measure_speed", measure)
    said: list[str] = []
    speed = fastest_settings(task, seconds=100, say=said.append)
    assert tried == [("fp32", 1), ("bf16", 1), ("bf16", 2), ("bf16", 4), ("bf16", 8), ("bf16", 4)]
    assert (speed.threads, speed.samples_per_second, threads[-1]) == (4, 76.0, 4)
    assert speed.settings == {"train.precision": "bf16", "train.channels_last": "true"}
    assert len(said) == len(tried)
    threads.append(8)
    tried.clear()
    assert fastest_settings(task, seconds=-1, say=said.append).samples_per_second == 10
    assert tried == [("fp32", 1)]


def test_the_speed_of_real_steps_is_measured() -> None:
    task = Tiny(config(Path()))
    batch, loading = load_batch(task)
    assert len(batch) == 4
    assert 0 < loading < 1
    assert measure_speed(task, batch, 0.0) > 1


def test_a_hopeless_setting_is_measured_by_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    class Slow(Squares):
        def step(self, networks: Mapping[str, nn.Module], batch: Points, update: Update) -> dict[str, Tensor]:
            steps.append(1)
            time.sleep(0.05)
            return super().step(networks, batch, update)

    monkeypatch.setattr(Tiny, "objective", lambda self, device: Slow())
    monkeypatch.setattr(budget, "MIN_SECONDS", 0.01)
    task = Tiny(config(Path()))
    batch, _ = load_batch(task)
    measure_speed(task, batch, float("inf"), best=1000.0)
    assert len(steps) == 1
    measure_speed(task, batch, float("inf"), best=1.0)
    assert len(steps) > 2
