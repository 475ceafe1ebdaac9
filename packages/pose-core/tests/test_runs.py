"""Runs are never lost: folders, locks, checkpoints, signals and closed outputs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.data.sampler import watching_workers
from pose_core.digests import is_damaged
from pose_core.engine import interrupt
from pose_core.engine import run as engine_run
from pose_core.engine.checkpoint import save_checkpoint
from pose_core.engine.interfaces import Evaluation
from pose_core.engine.run_folder import RunLock
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError, PoseError, WeightsError
from pose_testing.tiny_task import Tiny, config, equal, weights


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["step"])


@pytest.mark.parametrize("resume", [True, "auto"])
def test_resume_without_a_checkpoint_deletes_nothing(tmp_path: Path, resume: bool) -> None:
    folder = train(Tiny(config(tmp_path))).folder
    for path in folder.glob("last*.pt"):
        path.unlink()
    before = content(folder)
    with pytest.raises(ConfigError, match=r"holds best\.pt and metrics\.jsonl, but no last\.pt.*--init .*best\.pt"):
        train(Tiny(config(tmp_path)), resume=resume)
    assert content(folder) == before


def test_overwrite_deletes_nothing_before_the_new_run_stands_and_moves_the_old_one_aside(tmp_path: Path) -> None:
    folder = train(Tiny(config(tmp_path))).folder
    (folder / "notes.txt").write_text("mine")
    before = content(folder)
    with pytest.raises(ConfigError, match=r"train\.batch_size"):
        train(Tiny(config(tmp_path, accumulate=3)), overwrite=True)
    assert content(folder) == before
    train(Tiny(config(tmp_path, epochs=1)), overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert step_of(folder / "last.pt") == 5
    aside = tmp_path / "tiny.old-1"
    left = {name: data for name, data in before.items() if name not in {"notes.txt", ".lock"}}
    assert content(aside) == left
    assert f"is now in {aside}" in (folder / "log.txt").read_text()
    train(Tiny(config(tmp_path, epochs=1)), overwrite=True)
    assert content(aside) == left
    assert (tmp_path / "tiny.old-2/last.pt").exists()


def test_a_folder_is_one_process_s(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    hold = (
        "import sys\nfrom pathlib import Path\nfrom pose_core.engine.run_folder import RunLock\n"
        f"with RunLock(Path({str(folder)!r})):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=rf"is in use by process {other.pid} on "):
            train(Tiny(config(tmp_path)))
        assert not (folder / "config.yaml").exists()
        other.kill()
        other.wait()
        assert train(Tiny(config(tmp_path))).step == 15  # the lock ended with the process


def test_temporary_files_of_killed_saves_are_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in (".last.pt.x1y2", ".best.pt.zzzz"):
        (folder / name).write_bytes(b"half")
    with RunLock(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]


class Failing(Tiny):
    """A task whose second evaluation fails as on a full disk."""

    def evaluate(self, networks: dict[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:  # type: ignore[override]
        if self.evaluations == 1:
            raise OSError(28, "No space left on device")
        return super().evaluate(networks, device, folder)


def test_an_evaluation_that_fails_costs_no_epoch_and_is_made_up_for(tmp_path: Path) -> None:
    whole = train(Tiny(config(tmp_path / "whole")))
    with pytest.raises(OSError, match="No space"):
        train(Failing(config(tmp_path)))
    folder = tmp_path / "tiny"
    assert step_of(folder / "last.pt") == 10
    resumed = train(Tiny(config(tmp_path)), resume=True)
    assert equal(weights(whole), weights(resumed))
    for run in (whole, resumed):
        rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if row["split"] == "val"] == [5, 10, 15]


class Signaled(Tiny):
    """A task that gets a signal during its evaluation, or at the last step of its first epoch."""

    number: int = signal.SIGTERM
    in_evaluation = True

    def evaluate(self, networks: dict[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:  # type: ignore[override]
        if self.in_evaluation:
            os.kill(os.getpid(), self.number)
        return super().evaluate(networks, device, folder)

    def on_step(self, step: int) -> None:
        if not self.in_evaluation and step == 5:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("in_evaluation", [True, False])
def test_a_signal_leaves_a_checkpoint_and_the_evaluation_is_not_skipped(
    tmp_path: Path, number: int, in_evaluation: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests themselves may run under nohup.
    monkeypatch.setattr(interrupt, "_is_ignored", lambda _: False)
    task = Signaled(config(tmp_path))
    task.number, task.in_evaluation = number, in_evaluation

    def at_step(step: int, total: int) -> int:
        task.on_step(step)
        return total

    result = train(task, pace=at_step)
    assert result.interrupted
    assert step_of(result.folder / "last.pt") == 5
    resumed = train(Tiny(config(tmp_path)), resume=True)
    rows = [json.loads(line) for line in (resumed.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "val"] == [5, 10, 15]
    assert equal(weights(resumed), weights(train(Tiny(config(tmp_path / "whole")))))


def test_nohup_is_left_alone(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        task = Signaled(config(tmp_path))
        task.number = signal.SIGHUP
        assert not train(task).interrupted
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"weights": {"w": torch.randn(100, 10)}})
    data, rng = path.read_bytes(), random.Random(0)
    assert not is_damaged(path)
    for _ in range(200):
        place = rng.randrange(len(data) - 60)
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        assert is_damaged(path), place


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken_on_request(tmp_path: Path, harm: str) -> None:
    whole = train(Tiny(config(tmp_path / "whole")))
    folder = train(Tiny(config(tmp_path, iterations=10, checkpoint_every=1))).folder
    assert [step_of(folder / name) for name in ("last.pt", "last-1.pt")] == [10, 10]
    data = bytearray((folder / "last.pt").read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "last.pt").write_bytes({"flip": bytes(data), "truncate": bytes(data[:-1000]), "empty": b""}[harm])
    longer = config(tmp_path, checkpoint_every=1)
    with pytest.raises(WeightsError, match=r"last\.pt is .*\. To continue from .*last-1\.pt, use --resume=auto"):
        train(Tiny(longer), resume=True)
    resumed = train(Tiny(longer), resume="auto")
    assert equal(weights(whole), weights(resumed))
    assert "it is now last.damaged.pt" in (folder / "log.txt").read_text()


def test_as_many_checkpoints_are_kept_as_asked_for(tmp_path: Path) -> None:
    folder = train(Tiny(config(tmp_path, checkpoint_every=1, keep=4, validate_every=0))).folder
    names = ["last.pt", "last-1.pt", "last-2.pt", "last-3.pt"]
    assert [step_of(folder / name) for name in names] == [15, 15, 14, 13]
    assert {path.name for path in folder.glob("last*")} == set(names)
    (folder / "last.pt").unlink()  # killed between two renames, on a file system without links
    longer = config(tmp_path, checkpoint_every=1, keep=4, validate_every=0, epochs=4)
    assert train(Tiny(longer), resume=True).step == 20


def test_a_save_that_fails_names_the_cause_and_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(engine_run, "SAVE_WAITS", (0.01, 0.01))
    folder = train(Tiny(config(tmp_path, iterations=5))).folder
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "last.pt").stat().st_size // 2, before[1]))
        with pytest.raises(PoseError, match=r"cannot write .*last\.pt: File too large\. The last complete .* step 5"):
            train(Tiny(config(tmp_path)), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert step_of(folder / "last.pt") == 5
    assert not list(folder.glob(".*.pt.*"))
    assert train(Tiny(config(tmp_path)), resume=True).step == 15


def test_a_run_starts_from_another_s_weights_with_any_settings(tmp_path: Path) -> None:
    first = train(Tiny(config(tmp_path / "a", epochs=1)))
    best = torch.load(first.folder / "best.pt", weights_only=True)["weights"]

    second = train(Tiny(config(tmp_path / "b", epochs=1, lr=1e-9, clip_norm=1.0)), init=first.folder / "best.pt")
    assert all(torch.allclose(value, best[key], atol=1e-6) for key, value in weights(second).items())
    assert "starting from the weights of" in (second.folder / "log.txt").read_text()


def test_an_inexact_continuation_is_asked_for_and_says_so(tmp_path: Path) -> None:
    folder = train(Tiny(config(tmp_path, epochs=2))).folder
    other = config(tmp_path, epochs=3, lr=0.5, batch_size=2)
    with pytest.raises(ConfigError, match=r"(?s)train\.batch_size: 4 before, 2 now.*--init .*--resume --inexact"):
        train(Tiny(other), resume=True)
    assert train(Tiny(other), resume=True, inexact=True).step == 30  # two of three epochs of ten steps were done
    log = (folder / "log.txt").read_text()
    assert "no exact continuation: train.lr: 0.001 before, 0.5 now" in log


def test_changed_annotations_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_run, "annotations_digest", lambda _: "one")
    train(Tiny(config(tmp_path, epochs=1)))
    monkeypatch.setattr(engine_run, "annotations_digest", lambda _: "two")
    with pytest.raises(ConfigError, match="the training annotations have changed"):
        train(Tiny(config(tmp_path, epochs=2)), resume=True)
    assert train(Tiny(config(tmp_path, epochs=2)), resume=True, inexact=True).step == 10


def test_torchrun_s_restarts_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(Tiny(config(tmp_path, iterations=7)))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train(Tiny(config(tmp_path)), overwrite=True).step == 15
    assert not (tmp_path / "tiny.old-1").exists()


def test_no_loader_is_left_to_python_s_end_which_would_wait_for_it_for_ever(tmp_path: Path) -> None:
    import gc
    import multiprocessing

    gc.disable()
    try:
        train(Tiny(config(tmp_path, workers=1)))
        assert not multiprocessing.active_children()
        with pytest.raises(PoseError):
            train(Tiny(config(tmp_path / "nan", workers=1), poison=3))
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


def test_a_closed_pipe_is_no_success() -> None:
    script = (
        "from pose_core.cli import guarded\n"
        "def work() -> int:\n    raise BrokenPipeError\n"
        "raise SystemExit(guarded(work))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def _send_a_tensor(queue: Queue[torch.Tensor]) -> None:
    queue.put(torch.zeros(1000))
    time.sleep(60)


def test_a_loader_killed_before_it_handed_over_a_batch_is_named() -> None:
    context = torch.multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_send_a_tensor, args=(queue,))
    process.start()
    while queue.empty():
        time.sleep(0.01)
    process.kill()
    process.join()
    with pytest.raises(DataError, match=r"a loader process was killed \(.*fewer workers"), watching_workers():
        queue.get(timeout=10)
    with pytest.raises(FileNotFoundError), watching_workers():
        Path("no such file").read_bytes()
