"""Data and a trained network shared by several integration tests, made once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_testing.tiny import TINY


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small COCO data set of synthetic people."""
    from pose_core.synthetic import write_dataset

    folder = tmp_path_factory.mktemp("people")
    write_dataset(folder, layout="coco", images=12, val_images=6, people=(1, 2), size=(160, 120), seed=3)
    return folder


@pytest.fixture(scope="session")
def trained(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished tiny run on ``people``."""
    from pose_core.cli import main

    runs = tmp_path_factory.mktemp("runs")
    words = ["train", "--cfg", "pose-lite/synthetic_quick", f"data.root={people}", f"run.dir={runs}", "run.name=tiny"]
    assert main([*words, *TINY]) == 0
    return runs / "tiny"
