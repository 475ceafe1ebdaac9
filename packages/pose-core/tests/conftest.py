"""Fixtures of the core's suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig

COCO = SKELETONS["coco17"]


@pytest.fixture(params=["reference", "fast"])
def ops_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on both paths of every op."""
    monkeypatch.setenv("POSE_OPS", request.param)
    return str(request.param)


class Middles(PosePredictor):
    """A predictor that puts all joints of a person at the middle of its box."""

    needs_boxes = True

    def __init__(self) -> None:
        self.skeleton = COCO
        self.device = torch.device("cpu")
        self.config = TopDownConfig.model_construct(method="middles")

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for key, _, boxes, scores in images:
            middles = np.asarray(boxes)[:, :2] + np.asarray(boxes)[:, 2:] / 2
            points = np.repeat(middles[:, None], 17, 1)
            yield key, Poses(points, np.ones(points.shape[:2]), np.asarray(scores), COCO, np.asarray(boxes))

    def predict_batch(self, batch: object) -> list[tuple[np.ndarray, Poses]]:
        raise AssertionError("nothing is trained here")


@pytest.fixture
def make_predictor() -> Callable[[], Predictor]:
    """Return a function that makes a predictor which needs boxes, and puts all joints at their middles."""
    return lambda: Predictor(Middles())
