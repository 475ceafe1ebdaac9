"""Poses in a notebook, executed as a user would."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_core.photos import as_pixels

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel")),
    reason="needs nbclient and ipykernel",
)

CELLS = (
    """
import torch
from pose_core import Predictor, get_skeleton
from pose_core.config import ModelConfig
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.predictor import TopDownPredictor

network = torch.nn.Sequential(torch.nn.Conv2d(3, 17, 4, 4), torch.nn.Sigmoid())
config = TopDownConfig(method="mine", model=ModelConfig(name="mine", input_size=(64, 64)))
predictor = Predictor(TopDownPredictor(network, config, get_skeleton("coco17"), torch.device("cpu")))
poses = predictor("photo.jpg", [[20, 10, 60, 90]])
poses
""",
    "poses.show()",
    "poses.save('drawn.jpg')",
    "[each.keypoints.shape for each in predictor(['photo.jpg'] * 2, [[[20, 10, 60, 90]]] * 2)]",
)


def data_of(cell: Any) -> dict[str, str]:
    return next(dict(out["data"]) for out in cell["outputs"] if "data" in out)


def test_a_notebook_shows_poses_inline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    pixels = np.full((120, 160, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "photo.jpg"), pixels)
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    shown, window, _, several = notebook.cells
    page = data_of(shown)["text/html"]
    assert "1 person" in page
    content, _ = as_pixels(base64.b64decode(page.split("base64,")[1].split('"')[0]))
    assert content.shape == pixels.shape
    picture, _ = as_pixels(base64.b64decode(data_of(window)["image/jpeg"]))
    assert np.ptp(picture) > 100, "the poses are drawn"
    assert cv2.imread(str(tmp_path / "drawn.jpg")).shape == pixels.shape
    assert data_of(several)["text/plain"] == "[(1, 17, 2), (1, 17, 2)]"
