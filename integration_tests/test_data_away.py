"""A data set that is away for a moment, again and again, changes nothing about a training."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pose_core.cli import main
from pose_core.reading import patience
from pose_testing.tiny import TINY

CONFIGS = {
    "lite": ["--cfg", "pose-lite/synthetic_quick", *TINY],
    "dekr": ["--cfg", "pose-dekr/synthetic_dekr", "model.input_size=[64, 64]", "train.batch_size=8", "run.device=cpu",
             "train.epochs=2", "model.options={width: 16, blocks: 1, modules: [1, 1, 1]}",
             "data.layout=coco", "data.train=train2017", "data.val=val2017", "data.skeleton=coco17"],
}  # fmt: skip


@contextmanager
def blinking(root: Path, start: Path) -> Iterator[None]:
    """Move a folder away for a moment, again and again, as soon as the file ``start`` exists."""
    done = threading.Event()

    def blink() -> None:
        hidden = root.with_name("hidden")
        while not start.exists() and not done.wait(0.01):
            pass
        while not done.is_set():
            root.rename(hidden)
            time.sleep(0.3)
            hidden.rename(root)
            done.wait(0.7)

    thread = threading.Thread(target=blink)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("method", "workers"), [("lite", 0), ("lite", 2), pytest.param("dekr", 2, marks=pytest.mark.slow)]
)
def test_training_goes_on_when_the_data_comes_back(
    method: str,
    workers: int,
    people: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "WAITS", (0.1, 0.5, 2.0))
    root = tmp_path / "data"
    shutil.copytree(people, root)
    words = ["train", *CONFIGS[method], f"data.root={root}", f"run.dir={tmp_path}", f"train.workers={workers}",
             "test.workers=0"]  # fmt: skip
    assert main([*words, "run.name=undisturbed"]) == 0
    caplog.clear()
    with caplog.at_level(logging.WARNING), blinking(root, tmp_path / "disturbed/last.pt"):
        assert main([*words, "run.name=disturbed"]) == 0
    assert workers or "trying again" in caplog.text  # a loader process has a log of its own
    first, second = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["networks"]["pose"]
        for name in ("undisturbed", "disturbed")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
