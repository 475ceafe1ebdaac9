"""A training that keeps to a time, the measurement of the machine, and the quickstart's folder and pictures."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pose_core.cli.quickstart import MARKER, claim, ending_seconds, suggestions, training_length
from pose_core.config import TrainConfig
from pose_core.drawing.curves import draw_training
from pose_core.drawing.sheets import MARK, add_header, contact_sheet
from pose_core.engine import budget
from pose_core.engine.budget import Pace, Speed
from pose_core.engine.metrics import plot_metrics
from pose_core.engine.schedule import Progress, lr_factor
from pose_core.errors import ConfigError
from pose_core.plurals import counted

STEPS = 400


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def keep_pace(seconds_per_step: Callable[[int, float], float], seconds: float = 200.0) -> tuple[float, int, list[int]]:
    """Train at a speed that depends on step and time; return the time, the steps, and the numbers of steps planned."""
    clock, total, step, planned = Clock(), STEPS, 0, [STEPS]
    pace = Pace(seconds, lambda text: None, clock)
    while step < total:
        clock.now += seconds_per_step(step, clock.now - 100)
        step += 1
        total = pace(step, total)
        if total != planned[-1]:
            planned.append(total)
    return clock.now - 100, step, planned


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_a_training_at_the_planned_speed_keeps_its_number_of_steps() -> None:
    wobble = np.random.default_rng(0).uniform(0.8, 1.2, STEPS)
    time, steps, planned = keep_pace(lambda step, now: 0.5 * wobble[step])
    assert (steps, planned) == (STEPS, [STEPS])
    assert time == pytest.approx(200, rel=0.05)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "speed",
    [
        lambda step, now: 1.0,
        lambda step, now: 0.25,
        lambda step, now: 0.5 if now < 100 else 2.0,
        lambda step, now: 3.0 if now < 50 else 0.5,
        lambda step, now: 0.4 + 0.4 * (int(now) // 20 % 2),
    ],
)
def test_a_training_ends_in_time_whatever_its_speed(speed: Callable[[int, float], float]) -> None:
    time, steps, planned = keep_pace(speed)
    assert time == pytest.approx(200, rel=0.12)
    assert len(planned) > 1
    assert steps == planned[-1] != STEPS


def test_a_collapse_of_speed_is_answered_with_fewer_threads_before_fewer_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    time, steps, planned = keep_pace(lambda step, now: 0.5 if now < 40 else 8.0 if threads[-1] == 2 else 0.8)
    assert threads == [2, 1]
    assert time == pytest.approx(200, rel=0.12)
    assert 200 < steps < STEPS
    assert all(total > 150 for total in planned)


def test_progress_is_the_share_of_steps_until_it_is_changed() -> None:
    whole = Progress(40)
    assert [whole.share(step) for step in range(40)] == [step / 39 for step in range(40)]
    changed = whole.changed(10, 20).changed(15, 60)
    shares = [whole.share(step) for step in range(10)] + [whole.changed(10, 20).share(step) for step in range(10, 15)]
    shares += [changed.share(step) for step in range(15, 60)]
    assert (np.diff(shares) > 0).all()
    assert np.diff(shares).max() < 0.1
    assert shares[-1] == 1.0
    settings = TrainConfig(schedule="onecycle")
    assert lr_factor(settings, 59, 10, changed) == pytest.approx(1e-4)


def test_the_length_of_the_training_fills_the_time() -> None:
    speed = Speed({}, 1, 100.0, 0.002)
    length = training_length(speed, 120, 24, 1000)
    steps = int(length["train.iterations"])
    assert steps * 24 * speed.seconds_per_sample == pytest.approx(120, rel=0.1)
    assert int(length["train.epochs"]) * 1000 >= steps * 24
    assert int(training_length(speed, 0.001, 24, 1000)["train.iterations"]) == 1
    assert ending_seconds(speed, 200) > ending_seconds(Speed({}, 1, 1000.0, 0.0), 200)


def test_loader_processes_are_for_machines_with_cores_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.multiprocessing, "get_start_method", lambda: "fork")
    for cores, expected in ((1, 0), (2, 0), (4, 2), (16, 3)):
        monkeypatch.setattr(budget, "available_cores", lambda cores=cores: cores)
        assert Speed({}, 1, 2500.0, 0.001).workers == expected
    assert Speed({}, 1, 2500.0, 0.001).seconds_per_sample == 0.0004
    monkeypatch.setattr(budget.multiprocessing, "get_start_method", lambda: "spawn")
    assert Speed({}, 1, 2500.0, 0.001).workers == 0


def test_only_a_quickstarts_own_folder_is_written_to(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "data").mkdir(parents=True)
    (foreign / "data" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="no quickstart has made"):
            claim(foreign, resume=False, overwrite=overwrite)
    with pytest.raises(ConfigError, match="is a file"):
        claim(foreign / "data" / "mine.txt", resume=False, overwrite=False)
    assert [path.name for path in foreign.rglob("*")] == ["data", "mine.txt"]
    with pytest.raises(ConfigError, match="start one without --resume"):
        claim(tmp_path / "new", resume=True, overwrite=False)

    own = tmp_path / "own"
    assert claim(own, resume=False, overwrite=False) is None
    (own / "data").mkdir(parents=True)
    noted = {"minutes": 7, "images": None, "val_images": 9, "seed": 0, "overrides": ["train.lr=0.1"], "device": None}
    (own / MARKER).write_text(json.dumps({"arguments": noted}))
    with pytest.raises(ConfigError, match=r"already holds a quickstart.*--resume.*--overwrite"):
        claim(own, resume=False, overwrite=False)
    assert claim(own, resume=True, overwrite=False) == {"arguments": noted}
    assert claim(own, resume=False, overwrite=True) is None


def test_the_suggestions_are_three_commands_each_with_its_purpose() -> None:
    lines = suggestions("pose-lite", Path("runs/quickstart")).splitlines()
    commands = [line for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert len(commands) == 3
    assert len(lines) == 7
    assert "--boxes gt" in commands[0]


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "minute") for number in (0.5, 1.0, 4.0)] == ["0.5 minutes", "1 minute", "4 minutes"]


def test_a_sheet_has_marks_and_a_header() -> None:
    tiles = [np.zeros((20, 40, 3), np.uint8)] * 3
    plain = contact_sheet(tiles, ["a", "b", "c"], columns=3, tile=(40, 20))
    marked = contact_sheet(tiles, ["a", "b", "c"], columns=3, tile=(40, 20), marked={1})
    assert not (plain == MARK).all(2).any()
    columns = np.flatnonzero((marked == MARK).all(2).any(0))
    assert 46 < columns.min() < columns.max() < 100
    sheet = add_header(marked, "title", ["one", "two"], {"left": (1, 2, 3)})
    assert (sheet[-len(marked) :] == marked).all()
    assert (sheet[: -len(marked)] == (1, 2, 3)).all(2).any()
    assert (sheet[: -len(marked)] < 100).any()


def test_a_run_with_one_evaluation_shows_its_accuracy_instead_of_one_point(tmp_path: Path) -> None:
    rows = [{"split": "train", "step": step, "loss": 1 / step, "accuracy": step / 9} for step in (2, 4, 6)]
    (tmp_path / "metrics.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in [*rows, {"split": "val", "step": 6, "AP": 0.5}])
    )
    plot_metrics(tmp_path / "metrics.jsonl", tmp_path / "training.png")
    assert cv2.imread(str(tmp_path / "training.png")).shape[0] == 624
    steps = np.array([2.0, 4.0])
    figure = draw_training([("loss", steps, steps)], [], [("accuracy", steps, steps / 9)], "AP 0.500")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["training loss; held-out score at the end: AP 0.500", "share of joints found in training"]


def test_minutes_must_be_positive(tmp_path: Path) -> None:
    from pose_core.cli.quickstart import run

    arguments = Namespace(minutes=0.0, out=str(tmp_path / "q"), resume=False, overwrite=False, overrides=[])
    with pytest.raises(ConfigError, match=r"--minutes|method package"):
        run(arguments)
    assert not (tmp_path / "q").exists()
