"""Overfit a few samples: the shortest proof that data, targets and network fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core.config import Experiment
from pose_core.engine.checkpoint import seed_everything
from pose_core.engine.distributed import choose_device
from pose_core.engine.interfaces import Task
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.schedule import lr_factor
from pose_core.errors import DataError, PoseError
from pose_core.structures import Batch
from pose_core.verbosity import no_bar

LEARNED = 0.1
"""Share of the first loss that counts as learned."""


@dataclass(frozen=True)
class OverfitResult:
    """The first and last loss, and the trained networks."""

    first_loss: float
    last_loss: float
    steps: int
    networks: dict[str, nn.Module]
    batch: Batch
    device: torch.device

    @property
    def learned(self) -> bool:
        """Whether the network has overfitted: the loss fell to a tenth."""
        return self.last_loss <= LEARNED * self.first_loss

    def __str__(self) -> str:
        verdict = (
            "learned: data, targets and network fit together"
            if self.learned
            else "not learned: check the joints with `pose data browse`, or try more --steps or a higher train.lr"
        )
        return f"loss {self.first_loss:.6f} → {self.last_loss:.6f} in {self.steps} steps; {verdict}"


def overfit(
    make_task: Callable[[Experiment], Task], config: Experiment, *, images: int = 8, steps: int = 200
) -> OverfitResult:
    """Train on the first ``images`` samples of the training set, the same batch in every step."""
    task = make_task(config.without_variation())
    settings = task.config.train.model_copy(update={"accumulate": 1, "schedule": "constant", "warmup": min(20, steps)})
    device = choose_device(config.run.device)
    seed_everything(config.run.seed, 0)
    networks = {name: network.to(device) for name, network in task.networks().items()}
    data = task.training_set()
    count = min(images, len(data))
    if not count:
        raise DataError("the training set has no people; run `pose data check` to find out why")
    keys = [[(0, index) for index in range(count)]]
    loader = DataLoader(data, batch_sampler=keys, collate_fn=data.collate)
    batch = data.to_device(next(iter(loader)), device)
    objective = task.objective(device)
    # Every network at its own initial learning rate, constant.
    kept = {"accumulate": 1, "schedule": "constant", "warmup": settings.warmup}
    own = {name: task.train_settings(name).model_copy(update=kept) for name in networks}
    optimizers = {name: build_optimizer(network, own[name], device) for name, network in networks.items()}
    updater = Updater(networks, optimizers, settings)
    losses = []
    with tqdm(range(steps), f"overfitting {count} samples", disable=no_bar()) as bar:
        for step in bar:
            updater.set_lr({name: each.lr * lr_factor(each, step, steps, steps) for name, each in own.items()})
            for network in networks.values():
                network.train()
            losses.append(float(objective.step(networks, batch, updater)["loss"].detach()))
            bar.set_postfix(loss=f"{losses[-1]:.6f}")
            if losses[-1] != losses[-1]:
                raise PoseError(f"the loss is not a number at step {step}: try a lower train.lr")
    return OverfitResult(losses[0], losses[-1], steps, networks, batch, device)
