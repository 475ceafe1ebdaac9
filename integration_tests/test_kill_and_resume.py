"""A training that is killed at random times and resumed ends with identical weights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pose_testing.tiny import TINY

LONGER = ["train.epochs=6", "train.checkpoint_every=1", "train.validate_every=3", "model.init=framework"]


def command(people: Path, runs: Path, name: str, processes: int, *more: str) -> list[str]:
    words = [
        "train",
        "--cfg",
        "pose-lite/synthetic_quick",
        f"data.root={people}",
        f"run.dir={runs}",
        f"run.name={name}",
    ]
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    return [*launch, "pose_lite", *words, *TINY, *LONGER, *more]


def run_whole(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_and_kill(words: list[str], checkpoint: Path, seconds: float) -> bool:
    """Start a training, kill it ``seconds`` after its first checkpoint; return False if it had already ended."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        # Every process of the launcher's session, as a power cut would.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content = torch.load(folder / "last.pt", weights_only=True)
    return dict(content["networks"]["pose"])


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kills"), [(1, int(os.environ.get("POSE_KILLS", "3"))), (2, 1)])
def test_killed_and_resumed_equals_uninterrupted(people: Path, tmp_path: Path, processes: int, kills: int) -> None:
    run_whole(command(people, tmp_path, "whole", processes))
    rng = random.Random(processes)
    killed = 0
    for attempt in range(20 * kills):
        resume = ["--resume"] if attempt else []
        if not run_and_kill(
            command(people, tmp_path, "killed", processes, *resume), tmp_path / "killed/last.pt", rng.uniform(0, 0.5)
        ):
            break
        killed += 1
        if killed == kills:
            break
    assert killed == kills, "the training ended before it could be killed often enough"
    run_whole(command(people, tmp_path, "killed", processes, "--resume"))
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key


@pytest.mark.slow
def test_an_interrupt_leaves_a_checkpoint_and_says_how_to_go_on(people: Path, tmp_path: Path) -> None:
    words = command(people, tmp_path, "stopped", 1, "train.epochs=200", "train.checkpoint_every=0")
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    metrics = tmp_path / "stopped/metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert (tmp_path / "stopped/last.pt").exists()
    assert "--resume" in output
    assert "Traceback" not in output
