"""`predict --format` under torchrun: its processes are killed, and the same command continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pose_core.cli import method_main
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import bare_network
from pose_testing.processes import family
from pose_testing.tiny import TINY

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "pose_lite"]
SETTINGS = [*TINY, "test.flip=false"]


def words(out: str, inputs: str = "in") -> list[str]:
    cfg = ["--cfg", "pose-lite/synthetic_quick", "--weights", "w.pt", "--detector", "whole", *SETTINGS]
    return ["predict", inputs, *cfg, "--out", out, "--format", "jsonl", "--shard-size", "5"]


def rows(folder: Path) -> list[str]:
    return [line for file in sorted((folder / "shards").glob("*")) for line in file.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_two_processes_are_killed_and_one_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        image = np.random.default_rng(number).integers(0, 256, (40, 40 + number % 50, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"in/{number:03d}.png"), image)
    torch.manual_seed(0)
    torch.save(bare_network(load_config("pose-lite/synthetic_quick", SETTINGS)).state_dict(), tmp_path / "w.pt")
    shards = tmp_path / "out" / "shards"
    job = subprocess.Popen([*TORCHRUN, *words("out")], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while job.poll() is None and not list(shards.glob("part-*")):
        time.sleep(0.01)
    for process in family(job.pid):
        os.kill(process, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert 1 <= len(list(shards.glob("part-*"))) < 40
    monkeypatch.chdir(tmp_path)
    assert method_main("lite", words("out")) == 0
    assert "200 people in 200 images, written to 40 shards in out" in capsys.readouterr().out
    assert method_main("lite", words("whole")) == 0
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    assert [json.loads(line)["input"] for line in rows(tmp_path / "out")] == list(range(200))
    assert {file.name[0] for file in shards.iterdir()} == {"p"}
    assert method_main("lite", words("out", "in/001.png")) == 2
    assert "give the same to continue, or another --out" in capsys.readouterr().err
