"""Two processes under torchrun: the same evaluation as one process, and a single error message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pose_testing.tiny import TINY

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "pose_lite"]


@pytest.mark.slow
def test_evaluation_is_sharded_and_merged_to_the_same_number(trained: Path, tmp_path: Path) -> None:
    words = ["eval", "--cfg", str(trained / "config.yaml"), "--weights", str(trained / "best.pt")]
    results = {}
    for name, launch in (("one", [sys.executable, "-m", "pose_lite"]), ("two", TORCHRUN)):
        out = tmp_path / name
        done = subprocess.run([*launch, *words, "--out", str(out)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        table = [line for line in done.stdout.splitlines() if "Average" in line]
        file = next((out / "results").glob("keypoints_*.json"))
        results[name] = (table, json.loads(file.read_text()))
    assert len(results["one"][0]) == 10
    assert results["one"] == results["two"]


@pytest.mark.slow
def test_a_batch_that_does_not_split_is_refused(people: Path, tmp_path: Path) -> None:
    words = ["train", "--cfg", "pose-lite/synthetic_quick", f"data.root={people}", f"run.dir={tmp_path}", *TINY]
    done = subprocess.run([*TORCHRUN, *words, "train.batch_size=7"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "train.batch_size" in done.stderr


@pytest.mark.slow
def test_a_refused_folder_is_reported_once(people: Path, tmp_path: Path) -> None:
    words = ["train", "--cfg", "pose-lite/synthetic_quick", f"data.root={people}", f"run.dir={tmp_path}", *TINY]
    done = subprocess.run([*TORCHRUN, *words, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "--resume: there is no run in" in errors[0]


@pytest.mark.slow
def test_an_evaluation_besides_two_processes_gives_what_training_alone_does(people: Path, tmp_path: Path) -> None:
    words = [
        "train",
        "--cfg",
        "pose-lite/synthetic_quick",
        f"data.root={people}",
        f"run.dir={tmp_path}",
        *TINY,
        "train.validate_every=1",
    ]
    found = []
    for name, more in (("waits", []), ("goes_on", ["train.evaluate_on=cpu"])):
        done = subprocess.run(
            [*TORCHRUN, *words, f"run.name={name}", *more], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        found.append([row for row in rows if row["split"] == "val"])
        assert not list((tmp_path / name).glob("evaluate-*"))
    assert len(found[0]) == 2
    assert found[0] == found[1]
