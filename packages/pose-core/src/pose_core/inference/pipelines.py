"""What is exported of an experiment: its network, or the pipeline from pixels to keypoints, and notes about either."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pose_core.bottomup.config import BottomUpConfig
from pose_core.config import Experiment
from pose_core.engine.interfaces import Pipeline
from pose_core.models.network import PoseNetwork
from pose_core.ops.normalizing import STATISTICS
from pose_core.plugins.method import Method, installed_methods
from pose_core.skeleton import get_skeleton


def build_pipeline(network: nn.Module, config: Experiment, *, flip: bool | None = None) -> Pipeline:
    """Return the pipeline of an experiment's trained network; ``flip`` replaces the experiment's ``test.flip``."""
    method = installed_methods().get(config.method, Method())
    plain = config.model_copy(update={"test": config.test.model_copy(update={"compile": False, "runtime": "torch"})})
    predictor = method.predictor(network, plain, get_skeleton(config.data.skeleton), torch.device("cpu"))
    return predictor.pipeline(network.eval(), flip=config.test.flip if flip is None else flip)


def describe(network: nn.Module, config: Experiment, pipeline: Pipeline | None = None) -> dict[str, Any]:
    """Return the notes for a file's metadata: plain data."""
    mean, std = STATISTICS[config.data.pixels]
    whole = isinstance(config, BottomUpConfig) and isinstance(network, PoseNetwork)
    notes: dict[str, Any] = {
        "network": config.model.name, "experiment": config.name, "input_size": list(config.model.input_size),
        "multiple": network.divisor if whole else None, "color": config.data.color, "mean": mean, "std": std,
        "joints": list(get_skeleton(config.data.skeleton).joints), "heatmap": config.heatmap.model_dump(mode="json"),
    }  # fmt: skip
    return notes if pipeline is None else notes | {"color": "rgb", **pipeline.settings}
