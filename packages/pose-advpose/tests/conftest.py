"""Synthetic people drawn once, and the four tasks' experiments so narrow that a step takes milliseconds."""

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
    """``mpii``: one person an image; ``coco``: one to three, not all of whom have joints; ``pairs``: two."""
    root = tmp_path_factory.mktemp("sets")
    write_dataset(root / "mpii", layout="mpii", images=6, val_images=2, people=(1, 1), size=(96, 96), seed=1)
    write_dataset(root / "coco", layout="coco", images=6, val_images=3, people=(1, 3), size=(80, 64), seed=2)
    write_dataset(root / "pairs", layout="coco", images=2, val_images=2, people=(2, 2), size=(64, 64), seed=4)
    return root


@pytest.fixture(scope="session")
def narrow(sets: Path) -> Callable[[str], list[str]]:
    """Settings that make the synthetic experiment of a task a tiny one."""

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
    """What a user types after ``pose-advpose`` for the tiny experiment of a task: a verb, and more."""

    def write(verb: str, task: str, runs: Path, *more: str) -> list[str]:
        return [verb, "--cfg", f"synthetic_{task.replace('-', '_')}", *narrow(task), f"run.dir={runs}", *more]

    return write


@pytest.fixture
def tiny(narrow: Callable[[str], list[str]]) -> Tiny:
    """The tiny experiment of a task, with further settings."""

    def make(task: str, *more: str) -> TopDownConfig:
        return load_config(f"pose-advpose/synthetic_{task.replace('-', '_')}", [*narrow(task), *more])

    return make
