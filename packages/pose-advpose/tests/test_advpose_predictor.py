"""Multi-person prediction: the published pipeline on a stub network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_advpose.config import EmbeddingConfig
from pose_advpose.predictor import EmbeddingPredictor
from pose_core.engine.interfaces import DetectedImage
from pose_core.skeleton import SKELETONS
from pose_testing.golden import load_golden

FIGURES = load_golden("advpose/functions")
COCO = SKELETONS["coco17"]
ORDER = torch.from_numpy(COCO.flip_order)
Array = np.ndarray


def published_maps(side: int) -> Array:
    """Return heatmaps and tags ``(34, side, side)`` by the golden file's rule."""
    p, j = np.arange(2)[:, None], np.arange(17)[None]
    cx = (0.2 + 0.3 * p + 0.02 * ((3 * j) % 5)) * side
    cy = (0.25 + 0.03 * ((5 * j + 3 * p) % 17)) * side
    heat = np.where((j == 4) & (p == 1), 0, 0.85 - 0.03 * ((j + p) % 4))
    y, x = np.mgrid[:side, :side]
    squares = (x - cx[..., None, None]) ** 2 + (y - cy[..., None, None]) ** 2
    maps = (heat[..., None, None] * np.exp(-squares / (2 * (side / 64) ** 2))).max(0)
    tags = np.array([0.3, 3.1])[squares.argmin(0)] + 0.01 * np.arange(17)[:, None, None]
    return np.concatenate([maps, tags]).astype(np.float32)


class Stub(nn.Module):
    """Returns the same maps for any image, 0.01 higher for the mirror image; two stacks, the first empty."""

    def __init__(self, make: Any = published_maps, channels: int = 68) -> None:
        super().__init__()
        self.make, self.channels = make, channels
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mirrors = 1 if x.shape[0] == 2 else 0
        self.seen.append(x)
        side = x.shape[2] // 4
        plain = torch.from_numpy(self.make(side))
        both = torch.cat([ORDER, 17 + ORDER])
        last = torch.stack([plain, plain[both].flip(2) + 0.01][: 1 + mirrors])
        unread = last.new_full((1 + mirrors, self.channels - 34, side, side), 7.0)
        last = torch.cat([last, unread], 1)
        return torch.zeros_like(last), last


def experiment(side: int = 512, **test: Any) -> EmbeddingConfig:
    data = {"root": ".", "pixels": "unit"}
    return EmbeddingConfig.model_validate(
        {"method": "advpose", "model": {"name": "hg_ae_stack2", "input_size": [side, side]}, "data": data, "test": test}
    )


def predictor(network: nn.Module, config: EmbeddingConfig) -> EmbeddingPredictor:
    made = EmbeddingPredictor(network, config, COCO, torch.device("cpu"))
    for module in (made.network, network):
        if isinstance(module, Stub):
            module.seen.clear()
    return made


@pytest.mark.parametrize(("mode", "scales"), [("single", (1.0,)), ("multi", (0.5, 1.0, 2.0))])
def test_the_pipeline_finds_the_published_people(mode: str, scales: tuple[float, ...]) -> None:
    figures = FIGURES["multiperson"]
    (case,) = (case for case in figures["cases"] if case["mode"] == mode)
    made = predictor(Stub(), experiment(scales=scales))
    image = np.zeros((*figures["image_hw"], 3), np.uint8)
    ((_, poses),) = made.predict_stream([DetectedImage(None, image, np.empty((0, 4)), np.empty(0))])
    found = np.concatenate([poses.keypoints, poses.scores[..., None]], 2)
    errors = np.abs(found - np.array(case["xyv"])).max(), np.abs(poses.pose_scores - np.array(case["scores"])).max()
    print(mode, errors)
    assert len(poses.pose_scores) == case["detections"]
    assert max(errors) < 1e-5
    assert [x.shape[2] for x in made.network.seen] == [int(512 * scale) for scale in sorted(scales, reverse=True)]
