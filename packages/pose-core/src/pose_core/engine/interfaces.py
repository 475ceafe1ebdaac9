"""What a method gives the engine: its networks, its data, the order of its optimiser steps, its evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pose_core.config import Experiment, TrainConfig
from pose_core.evaluation.report import Evaluation as Evaluation


class Update(Protocol):
    """One optimiser step of a named network: backward, clipping, step."""

    def __call__(self, name: str, loss: Tensor) -> None: ...


class Objective(Protocol):
    """What training minimises.

    An adversarial method calls ``update`` once for each of its networks, in its own order, and runs as many forwards
    in between as it needs; what it remembers from step to step goes through ``state_dict``.
    """

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Update) -> dict[str, Tensor]:
        """One training iteration. Returns what to log; ``loss`` is watched for NaN."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Task(Protocol):
    """A configured method, as the engine sees it."""

    config: Experiment

    def networks(self) -> dict[str, nn.Module]:
        """Fresh networks, initialised. "pose" is the one that is evaluated."""
        ...

    def training_set(self) -> Dataset[Any]:
        """Samples; keys are (epoch, index)."""
        ...

    def training_groups(self) -> Sequence[int] | None:
        """An image number per sample, where batches may share decoded images."""
        ...

    def objective(self, device: torch.device) -> Objective: ...

    # A task may have ``train_settings(network)``, see below, and ``runs_repeatedly``: names of networks of which a step
    # runs several forwards before a backward.

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Score the networks; called by every process, and the same in each."""
        ...


def train_settings(task: Task, network: str) -> TrainConfig:
    """How a network is trained: as the task's ``train_settings(network)`` says, where it has one, or as the config.

    Of these, a network has its optimiser, learning rate and schedule to itself; all else is the run's.
    """
    own = getattr(task, "train_settings", None)
    settings: TrainConfig = task.config.train if own is None else own(network)
    return settings
