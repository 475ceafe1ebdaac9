"""Fixtures: synthetic people, a pool of their parts, and a small experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_asda.build_parts import synthetic_people, write_pool
from pose_asda.config import AsdaConfig
from pose_core.synthetic import write_dataset


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_dataset(folder, "mpii", 8, (1, 1), 0, val_images=4)
    return folder


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_pool(synthetic_people(folder / "scratch", 3, 1), folder, 200, 0.8)
    return folder


@pytest.fixture
def config(people: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsdaConfig:
    """Return an experiment that takes seconds on a CPU: a narrow hourglass, and a ResNet-18 generator."""
    monkeypatch.chdir(tmp_path)
    return AsdaConfig.model_validate(
        {
            "method": "asda",
            "data": {"layout": "mpii", "root": str(people), "train": "train", "val": "valid", "skeleton": "mpii16"},
            "model": {
                "name": "asda_hourglass_2",
                "input_size": [64, 64],
                "init": "framework",
                "options": {"channels": 16, "depth": 2},
            },
            "parts": {"annotations": str(pool / "part_anns.json"), "counts": [1, 2]},
            "train": {"epochs": 1, "batch_size": 4, "workers": 0, "log_every": 1, "milestones": [1]},
            "test": {"workers": 0, "batch_size": 4, "joint_threshold": 0.0},
            "run": {"device": "cpu"},
        }
    )
