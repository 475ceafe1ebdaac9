"""A run's log is never worth the run: what cannot be written is a warning, and training goes on."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from pose_core.cli import guarded
from pose_core.engine import run as run_state
from pose_core.engine.checkpoint import save_checkpoint
from pose_core.engine.interfaces import Evaluation
from pose_core.engine.run_folder import RunLock
from pose_core.engine.run_log import RunLog
from pose_core.engine.trainer import train
from pose_core.errors import ConfigError, DataError, PoseError, WeightsError
from pose_core.outside import outside_cause
from pose_testing.tiny_task import Tiny, config, equal, weights


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_reads_the_curves_and_a_resumed_run_hides_what_followed_its_checkpoint(tmp_path: Path) -> None:
    with RunLog(tmp_path, is_main=True) as log:
        for step in (1, 2, 3):
            log.record("train", step, 0, {"loss": 0.5 * step, "name": "not a number"})
    assert scalars(tmp_path) == {"train/loss": [(1, 0.5), (2, 1.0), (3, 1.5)]}
    first = next((tmp_path / "tensorboard").iterdir())
    first.rename(first.with_name("events.out.tfevents.1.before"))  # an earlier process
    with RunLog(tmp_path, is_main=True, step=2) as log:
        log.record("train", 3, 0, {"loss": 9.0})
    assert scalars(tmp_path) == {"train/loss": [(1, 0.5), (2, 1.0), (3, 9.0)]}


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "tensorboard"])
def test_a_log_that_cannot_be_written_is_one_warning_and_the_run_goes_on(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(Tiny(config(tmp_path, log_every=1, iterations=5))).folder
    if name == "tensorboard":
        shutil.rmtree(folder / name)
        (folder / name).write_text("a file in the place of the folder")
    else:
        (folder / name).unlink()
        (folder / name).mkdir()
    capsys.readouterr()
    resumed = train(Tiny(config(tmp_path, log_every=1)), resume=True)
    said = capsys.readouterr().err
    assert said.count(f"warning: cannot write {folder / name}") == 1, said
    assert "Training goes on" in said
    assert resumed.step == 15


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom pose_core.engine.run_log import RunLog\n"
        "with RunLog(Path(sys.argv[1]), is_main=True) as log:\n"
        "    for step in range(1, 60):\n"
        "        if step == 10: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "        if step == 50: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "        log.record('train', step, 0, {'loss': 1.0})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("warning: cannot write") <= 2  # a write cut short, and one refused
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps[-10:] == list(range(50, 60))
    assert 10 < len(steps) < 59
    found = [step for step, _ in scalars(tmp_path)["train/loss"]]
    assert found[-10:] == list(range(50, 60))


class Deleting(Tiny):
    """A task whose run folder is deleted during the run."""

    folder: Path

    def at_step(self, step: int, total: int) -> int:
        if step == 7:
            shutil.rmtree(self.folder)
        return total


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_deleted_run_folder_is_made_again(tmp_path: Path, log_every: int, capsys: pytest.CaptureFixture[str]) -> None:
    whole = train(Tiny(config(tmp_path / "whole", log_every=log_every)))
    task = Deleting(config(tmp_path, log_every=log_every))
    task.folder = tmp_path / "tiny"
    result = train(task, pace=task.at_step)
    assert "was deleted or moved during the training" in capsys.readouterr().err
    assert equal(weights(whole), weights(result))
    names = {path.name for path in task.folder.iterdir()}
    assert {"config.yaml", "log.txt", "metrics.jsonl", "last.pt", "best.pt", "tensorboard", ".lock"} <= names
    assert train(Tiny(config(tmp_path, log_every=log_every, epochs=4)), resume=True).step == 20


def test_a_run_folder_that_another_process_has_taken_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    lock = RunLock(folder)
    with lock:
        assert not lock.renew()
        folder.rename(tmp_path / "moved")
        hold = (
            "import sys\nfrom pathlib import Path\nfrom pose_core.engine.run_folder import RunLock\n"
            f"with RunLock(Path({str(folder)!r})):\n    print('held', flush=True)\n    sys.stdin.read()\n"
        )
        with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(ConfigError, match=f"is in use by process {other.pid}"):
                lock.renew()
            other.kill()
        shutil.rmtree(folder)
        assert lock.renew()
        assert (folder / ".lock").read_text().startswith(f"process {os.getpid()} ")


def test_leftovers_of_any_killed_write_are_cleared_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for name in (".last.pt.x1", ".config.yaml.x2", ".metrics.jsonl.x3", "results/.keypoints_val.json.x4"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".mine").write_bytes(b"whole")
    with RunLock(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".mine", ".lock"}


def test_a_checkpoint_refused_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = 0

    def refuse_twice(*words: object) -> None:
        nonlocal tries
        tries += 1
        if tries in {3, 4}:
            raise PoseError("cannot write last.pt: Stale file handle")
        save_checkpoint(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(run_state, "save_checkpoint", refuse_twice)
    monkeypatch.setattr(run_state, "SAVE_WAITS", (0.0, 0.0))
    result = train(Tiny(config(tmp_path)))
    assert capsys.readouterr().out.count("Stale file handle; trying again in 0 s") == 2
    assert equal(weights(result), weights(train(Tiny(config(tmp_path / "whole")))))


def test_a_first_checkpoint_that_is_refused_promises_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PoseError("cannot write last.pt: No space left on device")

    monkeypatch.setattr(run_state, "save_checkpoint", refuse)
    monkeypatch.setattr(run_state, "SAVE_WAITS", ())
    with pytest.raises(PoseError, match=r"No space left on device\. There is no checkpoint yet: "):
        train(Tiny(config(tmp_path)))


class Losing(Tiny):
    """A task whose second evaluation fails."""

    error: PoseError

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        if self.evaluations == 1:
            raise self.error
        return super().evaluate(networks, device, folder)


@pytest.mark.parametrize(
    "error", [DataError("image x.jpg does not exist"), PoseError("cannot write y.json: No space left on device")]
)
def test_an_error_that_ends_a_run_says_how_to_go_on(tmp_path: Path, error: PoseError) -> None:
    task = Losing(config(tmp_path))
    task.error = error
    text = f"{error}. Training is saved up to step 10: once this is solved, run the same command with --resume"
    with pytest.raises(type(error), match=f"^{re.escape(text)}$"):
        train(task)


def test_damage_without_another_checkpoint_says_what_is_left(tmp_path: Path) -> None:
    folder = train(Tiny(config(tmp_path, keep=1))).folder
    data = bytearray((folder / "last.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "last.pt").write_bytes(data)
    with pytest.raises(WeightsError, match=r"no checkpoint before it \(train\.keep\).*--overwrite.*--init .*best\.pt"):
        train(Tiny(config(tmp_path, keep=1)), resume="auto")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/disk/x.json"), "/disk/x.json: No space left.*; free some"),
        (OSError(errno.EROFS, "Read-only file system", "/disk/x"), "Read-only file system; nothing can be written"),
        (OSError(errno.EIO, "Input/output error"), "^Input/output error; the disk or the network file system"),
        (MemoryError(), "^out of memory; lower train.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "CUDA out of memory; lower train"),
    ],
)
def test_a_cause_outside_of_the_program_is_named_and_is_no_bug(
    error: Exception, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    found = outside_cause(error)
    assert found is not None
    assert re.search(text, found)
    assert guarded(work) == 1
    assert capsys.readouterr().err == f"error: {found}\n"


def test_a_bug_is_still_one(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise OSError("without a number")

    assert guarded(work) == 1
    assert "This is a bug" in capsys.readouterr().err
