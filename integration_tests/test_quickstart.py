"""The quickstart from its command line: pictures, suggestions that work as printed, stopping and continuing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from pose_core.cli import main, method_main
from pose_testing.tiny import TINY

BRIEF = ["--images", "8", "--val-images", "4", "--device", "cpu", *TINY[:3], "train.batch_size=8", "train.epochs=1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a quickstart."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    assert main(["quickstart", "--out", str(folder), *BRIEF]) == 0
    return folder


def suggested(text: str, script: str) -> list[list[str]]:
    """Return the words after the script of each suggested command of a script."""
    commands = [shlex.split(line) for line in text.split("three things to try next")[1].splitlines() if line.strip()]
    return [words[1:] for words in commands if Path(words[0]).name == script]


def test_the_quickstart_leaves_pictures_and_suggests_commands_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    folder = tmp_path / "quick"
    assert main(["quickstart", "--out", str(folder), *BRIEF]) == 0
    text = capsys.readouterr().out
    assert "COCO AP" in text
    assert text.count("Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all") == 1
    assert text.count("| Arch |") == 1
    for name in ("data.jpg", "predictions.jpg", "training.png"):
        assert cv2.imread(str(folder / name)).std() > 5
    own = suggested(text, "pose-lite")
    assert [words[0] for words in own] == ["predict", "eval"]
    assert [words[0] for words in suggested(text, "pose")] == ["predict"]
    for words in own:
        assert method_main("lite", words) == 0
    assert len(list((folder / "predicted").glob("**/*.jpg"))) == 4


def test_a_folder_with_a_quickstart_is_asked_about_before_it_is_replaced(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "best.pt").read_bytes()
    assert main(["quickstart", "--out", str(finished), *BRIEF]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["quickstart", "--out", str(finished), "--resume", "train.lr=0.1"]) == 2
    assert "train.lr" in capsys.readouterr().err
    assert (finished / "best.pt").read_bytes() == before


def test_a_quickstart_keeps_to_its_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    words = ["--minutes", "0.5", "--images", "32", "--val-images", "4", "--device", "cpu", *TINY[:3]]
    assert main(["quickstart", "--out", str(tmp_path / "quick"), *words, "train.batch_size=8"]) == 0
    passed = time.monotonic() - started
    # Half a minute is little beside what starting takes on a busy machine: the bound is wide, the least is not.
    assert 15 < passed < 90
    plan = json.loads((tmp_path / "quick" / "quickstart.json").read_text())
    assert 0 < plan["training_seconds"] < 30
    assert "samples/s" in capsys.readouterr().out


def test_a_quickstart_that_was_stopped_before_its_training_starts_again_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "quick"
    with monkeypatch.context() as patched:
        patched.setattr("pose_core.synthetic.write_dataset", interrupted)
        assert main(["quickstart", "--out", str(folder), *BRIEF]) == 130
    assert f"pose quickstart --out {folder} --resume" in capsys.readouterr().out
    assert main(["quickstart", "--out", str(folder), "--resume"]) == 0
    assert len(list((folder / "data" / "images" / "train2017").iterdir())) == 8
    assert "on 4 held-out synthetic images" in capsys.readouterr().out


def test_a_mistyped_setting_costs_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--out", str(finished), "--overwrite", "train.lrr=1"]) == 2
    assert "train.lr" in capsys.readouterr().err
    assert (finished / "data" / "images").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process")
def test_a_stopped_quickstart_continues_with_the_printed_command(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "pose_core", "quickstart", "--out", "quick", *BRIEF[:-1]]
    process = subprocess.Popen(
        [*start, "train.epochs=400", "train.log_every=1"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "step 3 " in line:
            process.send_signal(signal.SIGINT)
        if line.startswith("stopped; "):
            break
    assert process.wait(60) == 130
    data = {path: path.stat().st_mtime_ns for path in (tmp_path / "quick" / "data").rglob("*.jpg")}
    command = lines[-1].partition(": ")[2].strip()
    assert command.endswith("pose quickstart --out quick --resume")
    words = shlex.split(command)
    again = subprocess.Popen(
        [sys.executable, "-m", "pose_core", *words[words.index("quickstart") :]], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert again.stdout is not None
    first = next(line for line in again.stdout if "  step " in line)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert int(first.split("step")[1].split()[0]) == 1 + int(
        next(line for line in lines if "stopped at step" in line).split("step")[1].split()[0].rstrip(";")
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "quick" / "data").rglob("*.jpg")} == data
