"""A task that trains in milliseconds, for tests of the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose_core.config import ModelConfig, RunConfig, TrainConfig
from pose_core.engine.interfaces import Evaluation, Objective, Task, TrainingSet, Update
from pose_core.engine.trainer import Result
from pose_core.structures import Batch
from pose_core.topdown.config import TopDownConfig


@dataclass(frozen=True)
class Points(Batch):
    x: Tensor
    y: Tensor


class Plane(TrainingSet[Points]):
    """A data set of a noisy plane; the noise depends on (epoch, index)."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, key: tuple[int, int]) -> Points:
        epoch, index = key
        x = torch.randn(4, generator=torch.Generator().manual_seed(1000 * epoch + index))
        return Points(x, x.sum(0, keepdim=True))


class Squares(Objective[Points]):
    """An objective with one network, one loss, and a counter that must be saved and restored."""

    def __init__(self, poison: int | None = None) -> None:
        self.steps = 0
        self.poison = poison

    def step(self, networks: Mapping[str, nn.Module], batch: Points, update: Update) -> dict[str, Tensor]:
        self.steps += 1
        loss = (networks["pose"](batch.x) - batch.y).square().mean()
        if self.steps == self.poison:
            loss = loss * float("nan")
        update("pose", loss)
        return {"loss": loss}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


class Tiny(Task):
    """A task that trains in milliseconds; dropout makes it depend on the random state."""

    def __init__(self, config: TopDownConfig, poison: int | None = None) -> None:
        self.config = config
        self.poison = poison
        self.evaluations = 0

    def networks(self) -> dict[str, nn.Module]:
        return {"pose": nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))}

    def training_set(self) -> Plane:
        return Plane()

    def objective(self, device: torch.device) -> Squares:
        return Squares(self.poison)

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        self.evaluations += 1
        score = next(networks["pose"].parameters()).sum().item()
        return Evaluation("score", score, {"AP": score}, "a table")


class Writing(Tiny):
    """A task whose evaluations write results."""

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        file = folder / "results" / "scores.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text("[]")
        return replace(super().evaluate(networks, device, folder), results=file)


def config(folder: Path, **train: Any) -> TopDownConfig:
    settings = {"epochs": 3, "batch_size": 4, "workers": 0, "milestones": (2,), "log_every": 2, **train}
    return TopDownConfig(
        method="lite",
        name="tiny",
        model=ModelConfig(name="none"),
        train=TrainConfig(**settings),
        run=RunConfig(dir=str(folder), device="cpu"),
    )


def weights(result: Result) -> dict[str, Tensor]:
    return dict(torch.load(result.folder / "last.pt", weights_only=True)["networks"]["pose"])


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


class Troubled(Tiny):
    """A task whose second evaluation raises an error, or is killed."""

    trouble: BaseException | int = 9

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        if self.evaluations == 1:
            if isinstance(self.trouble, int):
                os._exit(self.trouble)
            raise self.trouble
        return super().evaluate(networks, device, folder)
