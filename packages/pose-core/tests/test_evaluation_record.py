"""``evaluation.json``: what an evaluation was of, beside its results."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from pose_core.config import DataConfig
from pose_core.engine.evaluation_record import git_hash, record_evaluation
from pose_core.engine.trainer import train
from pose_core.evaluation.report import Evaluation
from pose_core.topdown.config import TopDownConfig
from pose_testing.tiny_task import Tiny, Writing
from pose_testing.tiny_task import config as tiny_config

CPU = torch.device("cpu")


def experiment(root: Path) -> TopDownConfig:
    config = Tiny(tiny_config(root)).config
    assert isinstance(config, TopDownConfig)
    return config.model_copy(update={"data": DataConfig(root=str(root), val="mine.json")})


def test_a_record_says_what_was_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "results" / "keypoints_mine_results.json"
    evaluation = Evaluation("COCO AP", 0.5, {"AP": 0.5}, "the table\nboxes=ground-truth", file)
    target = record_evaluation(evaluation, experiment(tmp_path), CPU, "best.pt")
    assert target == tmp_path / "results" / "evaluation.json"
    content = json.loads(target.read_text())
    assert content["results"] == file.name
    assert content["metrics"] == {"AP": 0.5}
    assert content["report"].endswith("boxes=ground-truth")
    assert content["data"] == {
        "layout": "coco",
        "root": str(tmp_path),
        "split": "mine.json",
        "skeleton": "coco17",
        "image_ids": None,
    }
    assert content["weights"] == "best.pt"
    assert content["device"] == "cpu"
    assert content["versions"]["torch"] == torch.__version__
    assert content["versions"]["pose-core"]
    assert content["git"] is None
    assert content["config"]["data"]["val"] == "mine.json"
    assert [path.name for path in target.parent.iterdir()] == ["evaluation.json"]


def test_an_evaluation_without_a_results_file_leaves_none(tmp_path: Path) -> None:
    evaluation = Evaluation("COCO AP", 0.5, {"AP": 0.5}, "")
    assert record_evaluation(evaluation, experiment(tmp_path), CPU, None) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("evaluate_on", [None, "cpu"])
def test_a_training_leaves_the_record_of_its_last_evaluation(evaluate_on: str | None, tmp_path: Path) -> None:
    result = train(Writing(tiny_config(tmp_path, evaluate_on=evaluate_on)))
    content = json.loads((result.folder / "results" / "evaluation.json").read_text())
    assert content["results"] == "scores.json"
    assert content["weights"] == "step 15 of the training"
    assert content["value"] == result.evaluation.value


def test_the_commit_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_hash(tmp_path) is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    found = git_hash(tmp_path)
    assert found is not None
    assert len(found) == 40
    monkeypatch.setenv("PATH", "")
    assert git_hash(tmp_path) is None, "no git, no commit, no error"
