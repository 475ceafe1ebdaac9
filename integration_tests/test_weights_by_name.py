"""A laboratory's own weights by name, from training to prediction, and a run that is evaluated from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pose_core
from pose_core.cli import main, method_main
from pose_core.data.images import open_image
from pose_core.downloads import digest_of


@pytest.fixture
def named(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the weights of the trained run a name, tiny.people; return POSE_HOME."""
    table = trained / "weights.csv"
    table.write_text(
        "name,method,experiment,settings,url,sha256,license,data,metric,default,note\n"
        f"tiny.people,lite,config.yaml,,best.pt,{digest_of(trained / 'best.pt')[:8]},MIT,drawn people,,yes,\n"
    )
    monkeypatch.setenv("POSE_CHECKPOINTS", str(table))
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POSE_OFFLINE", "1")
    return tmp_path / "home"


def photo_in(people: Path) -> Path:
    return next((people / "images" / "val2017").glob("*.jpg"), None) or next(people.rglob("*.jpg"))


def test_predict_needs_no_flag_but_says_what_it_uses(
    named: Path, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(photo_in(people)), "--detector", "whole", "--out", str(tmp_path / "out")]
    assert method_main("lite", words) == 0
    assert "weights: tiny.people, the default" in capsys.readouterr().err
    assert list((tmp_path / "out").rglob("*.json"))


def test_a_name_and_its_run_give_the_same_poses(named: Path, trained: Path, people: Path) -> None:
    image = open_image(str(photo_in(people)), "rgb")
    boxes = np.array([[20.0, 10.0, 60.0, 100.0]])
    by_name = pose_core.Predictor.from_name("tiny.people")(image, boxes)
    by_run = pose_core.Predictor.from_name(trained / "best.pt")(image, boxes)
    by_config = pose_core.Predictor.from_config(trained / "config.yaml", "tiny.people")(image, boxes)
    for other in (by_run, by_config):
        assert np.array_equal(by_name.keypoints, other.keypoints)


def test_eval_of_a_run_needs_no_config_from_anywhere(
    named: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "--weights", str(trained / "best.pt"), "test.flip=false"]) == 0
    assert "boxes=ground-truth flip=no" in capsys.readouterr().out
    assert (trained / "results").is_dir()
    assert main(["eval", "--weights", "tiny.people"]) == 0
    assert "boxes=ground-truth flip=yes" in capsys.readouterr().out


def test_two_processes_convert_weights_at_once(named: Path) -> None:
    command = [sys.executable, "-m", "pose_core", "weights", "get", "tiny.people"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=300)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    path = Path(paths.pop())
    assert not paths
    assert sorted(each.name for each in (named / "weights").iterdir()) == [f"{path.stem}.json", path.name]
    assert json.loads(path.with_suffix(".json").read_text())["stored_sha256"] == digest_of(path)
