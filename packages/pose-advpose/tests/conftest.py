"""Synthetic data sets, and experiments of the four tasks small enough that a step takes milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pose_core.plugins.experiments import load_config
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import TopDownConfig

TASKS = ("hgpose", "advpose", "hgpose-ae", "advpose-ae")
Tiny = Callable[..., TopDownConfig]


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write ``mpii`` (one person an image), ``coco`` (one to three, some without joints) and ``pairs`` (two)."""
    root = tmp_path_factory.mktemp("sets")
    write_dataset(root / "mpii", layout="mpii", images=6, val_images=2, people=(1, 1), size=(96, 96), seed=1)
    write_dataset(root / "coco", layout="coco", images=6, val_images=3, people=(1, 3), size=(80, 64), seed=2)
    write_dataset(root / "pairs", layout="coco", images=2, val_images=2, people=(2, 2), size=(64, 64), seed=4)
    return root


@pytest.fixture(scope="session")
def narrow(sets: Path) -> Callable[[str], list[str]]:
    """Return a function for the settings that shrink the synthetic experiment of a task."""

    def settings(task: str) -> list[str]:
        single = not task.endswith("-ae")
        options = {"channels": 16, "depth": 2} if single else {"channels": 16, "depth": 2, "increase": 8, "outputs": 34}
        critic = ["adversarial.channels=8", "adversarial.depth=1"] if task.startswith("adv") else []
        return [
            f"data.root={sets / ('mpii' if single else 'coco')}",
            "model.input_size=[64, 64]",
            f"model.options={json.dumps(options)}",
            *critic,
            "train.batch_size=3",
            "train.workers=0",
            "train.log_every=1",
            "test.workers=0",
            "run.device=cpu",
        ]

    return settings


@pytest.fixture(scope="session")
def words(narrow: Callable[[str], list[str]]) -> Callable[..., list[str]]:
    """Return a function for the command-line arguments of ``pose-advpose`` with a task's small experiment."""

    def write(verb: str, task: str, runs: Path, *more: str) -> list[str]:
        return [verb, "--cfg", f"synthetic_{task.replace('-', '_')}", *narrow(task), f"run.dir={runs}", *more]

    return write


@pytest.fixture
def tiny(narrow: Callable[[str], list[str]]) -> Tiny:
    """Return a function that loads the small experiment of a task, with further settings."""

    def make(task: str, *more: str) -> TopDownConfig:
        return load_config(f"pose-advpose/synthetic_{task.replace('-', '_')}", [*narrow(task), *more])

    return make
