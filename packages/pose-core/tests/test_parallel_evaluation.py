"""Evaluations in a process of their own end like those that training waits for, and none is lost."""

from __future__ import annotations

import json
import os
import pickle
import signal
from multiprocessing import popen_spawn_posix
from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.engine.interfaces import Evaluation
from pose_core.engine.run import Run
from pose_core.engine.run_folder import outstanding, weights_file
from pose_core.engine.trainer import Result, train
from pose_core.errors import ConfigError, DataError, PoseError
from pose_testing.tiny_task import Tiny, Troubled, config, equal, weights


def evaluations(result: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (result / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["AP"]) for row in rows if row["split"] == "val"]


def best(folder: Path) -> dict[str, object]:
    content = torch.load(folder / "best.pt", weights_only=True)
    return {"step": content["step"], "metrics": content["metrics"], "keys": sorted(content)}


def check_equal(one: Result, other: Result) -> None:
    assert evaluations(one.folder) == evaluations(other.folder)
    assert [step for step, _ in evaluations(one.folder)] == [5, 10, 15]
    assert best(one.folder) == best(other.folder)
    assert equal(weights(one), weights(other))
    assert isinstance(one.evaluation, Evaluation)
    assert one.evaluation == other.evaluation
    assert not outstanding(other.folder)
    assert {path.name for path in one.folder.iterdir()} == {path.name for path in other.folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Return a training that waits for its evaluations."""
    return train(Tiny(config(tmp_path_factory.mktemp("whole"))))


def test_it_ends_like_one_that_waits(whole: Result, tmp_path: Path) -> None:
    check_equal(whole, train(Tiny(config(tmp_path, evaluate_on="cpu"))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "kind", "text"),
    [
        (
            9,
            PoseError,
            r"the process that evaluates on cpu was killed \(exit code 9\).* before it had evaluated step 10",
        ),
        (DataError("no such image"), DataError, "the evaluation of step 10 failed: no such image"),
        (ValueError("odd"), PoseError, "the evaluation of step 10 failed: ValueError: odd"),
    ],
)
def test_one_that_fails_is_explained_and_made_up_for(
    whole: Result, tmp_path: Path, trouble: BaseException | int, kind: type[PoseError], text: str
) -> None:
    task = Troubled(config(tmp_path, evaluate_on="cpu"))
    task.trouble = trouble
    with pytest.raises(kind, match=text):
        train(task)
    assert 10 in outstanding(tmp_path / "tiny")
    check_equal(whole, train(Tiny(config(tmp_path, evaluate_on="cpu")), resume=True))


@pytest.mark.slow
def test_one_that_was_outstanding_is_made_up_for_by_a_training_that_waits(whole: Result, tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="killed"):
        train(Troubled(config(tmp_path, evaluate_on="cpu")))
    check_equal(whole, train(Tiny(config(tmp_path)), resume=True))


@pytest.mark.slow
def test_weights_after_the_checkpoint_are_not_evaluated(
    whole: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Killed between the weights of the second epoch and its checkpoint.
    def save(run: Run, *args: object) -> None:
        if run.step == 10:
            raise KeyboardInterrupt
        saved(run, *args)  # type: ignore[arg-type]

    saved = Run.save
    monkeypatch.setattr(Run, "save", save)
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(config(tmp_path, evaluate_on="cpu")))
    monkeypatch.undo()
    assert weights_file(tmp_path / "tiny", 10).exists()
    check_equal(whole, train(Tiny(config(tmp_path, evaluate_on="cpu")), resume=True))


def test_a_device_that_does_not_exist_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tpu"):
        train(Tiny(config(tmp_path, evaluate_on="tpu")))
    assert not (tmp_path / "tiny").exists()


@pytest.mark.slow
def test_the_run_that_is_overwritten_takes_its_weights_along(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="killed"):
        train(Troubled(config(tmp_path, evaluate_on="cpu")))
    left = outstanding(tmp_path / "tiny")
    train(Tiny(config(tmp_path)), overwrite=True)
    assert outstanding(tmp_path / "tiny.old-1").keys() == left.keys()
    assert not outstanding(tmp_path / "tiny")


def test_a_task_is_sent_without_its_data(tmp_path: Path) -> None:
    assert len(pickle.dumps(Tiny(config(tmp_path)))) < 10_000


class Large(Tiny):
    """A task with a network whose description does not fit into a pipe's buffer."""

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        networks["pose"].note = "x" * (1 << 20)  # type: ignore[assignment]
        return networks


@pytest.mark.slow
def test_one_that_is_killed_as_it_starts_does_not_block_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = popen_spawn_posix.util.spawnv_passfds

    def spawn_dead(*args: object) -> int:
        pid = spawn(*args)
        os.kill(pid, signal.SIGKILL)
        return int(pid)

    monkeypatch.setattr(popen_spawn_posix.util, "spawnv_passfds", spawn_dead)
    with pytest.raises(PoseError, match=r"was killed \(exit code -9\)"):
        train(Large(config(tmp_path, evaluate_on="cpu")))
    monkeypatch.undo()
    assert 5 in outstanding(tmp_path / "tiny")
    assert train(Tiny(config(tmp_path, evaluate_on="cpu")), resume=True).step == 15
    assert not list((tmp_path / "tiny").glob(".evaluator*"))
