"""A network, data and a task that cost a training loop what real ones do, but compute next to nothing.

`StandIn` has as many modules, parameters and buffers as a real network, each of one element; the data are ready in
memory. What is left of a training step is the loop itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

try:
    from pose_core.engine.interfaces import Objective, Task, TrainingSet
    from pose_core.structures import Batch
except ImportError:  # commit 83fc4ae, to compare with: protocols, and batches that are named tuples
    Objective = Task = TrainingSet = object  # type: ignore[assignment,misc]

    class Ready(NamedTuple):
        """A batch of images."""

        images: Tensor
else:

    @dataclass(frozen=True)
    class Ready(Batch):  # type: ignore[no-redef]
        """A batch of images."""

        images: Tensor


class Outline(NamedTuple):
    """The names of a network's modules, of its parameters and of its buffers, and whether a buffer is a counter."""

    modules: list[str]
    parameters: list[str]
    buffers: list[tuple[str, bool]]


def outline(network: nn.Module) -> Outline:
    """Return the outline of a network."""
    return Outline(
        [name for name, _ in network.named_modules() if name],
        [name for name, _ in network.named_parameters()],
        [(name, not value.is_floating_point()) for name, value in network.named_buffers()],
    )


class StandIn(nn.Module):
    """A network of a given outline whose tensors have one element each; its output is a loss."""

    def __init__(self, shape: Outline) -> None:
        super().__init__()
        for name in shape.modules:
            parent, _, own = name.rpartition(".")
            self.get_submodule(parent).add_module(own, nn.Module())
        for name in shape.parameters:
            parent, _, own = name.rpartition(".")
            self.get_submodule(parent).register_parameter(own, nn.Parameter(torch.ones(1)))
        for name, counts in shape.buffers:
            parent, _, own = name.rpartition(".")
            value = torch.zeros((), dtype=torch.long) if counts else torch.zeros(1)
            self.get_submodule(parent).register_buffer(own, value)
        self.values = list(self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean square of all parameters; every one gets a gradient."""
        del images
        return torch.cat(self.values).square().mean()


class ReadyData(TrainingSet):  # type: ignore[type-arg]
    """A training set of ``length`` samples whose batches are always the same one, which is ready in memory."""

    def __init__(self, length: int, batch: Ready) -> None:
        self.length, self.batch = length, batch

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: object) -> object:
        return key

    def collate(self, samples: object) -> Ready:
        del samples
        return self.batch

    def to_device(self, batch: Any, device: torch.device) -> Any:
        return batch.to(device)


class Interleaved(Objective):  # type: ignore[type-arg]
    """An objective that alternates blocks of the training loop's steps with blocks of plain steps, and times both.

    A plain step is forward, backward and optimizer, on a network of its own. The clock counts processor time.
    """

    def __init__(self, shape: Outline, block: int) -> None:
        self.twin, self.block = StandIn(shape), block
        self.loop: list[float] = []
        self.plain: list[float] = []
        self.steps, self.started = 0, 0.0

    def step(self, networks: Mapping[str, nn.Module], batch: Ready, update: Any) -> dict[str, Tensor]:
        """Train one step; at the beginning of a block, note the time of the last one and take the plain steps."""
        if self.steps % self.block == 0:
            now = time.process_time()
            if self.steps:
                self.loop.append((now - self.started) / self.block)
            self.plain.append(self._plain_steps(update.optimizers["pose"], batch))
            self.started = time.process_time()
        self.steps += 1
        loss = networks["pose"](batch.images)
        update("pose", loss)
        return {"loss": loss}

    def _plain_steps(self, like: torch.optim.Optimizer, batch: Ready) -> float:
        """Return the seconds of a plain step, with the same kind of optimizer as the loop's."""
        if not self.steps:
            self.optimizer = type(like)(self.twin.parameters(), **like.defaults)
        started = time.process_time()
        for _ in range(self.block):
            loss = self.twin(batch.images)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return (time.process_time() - started) / self.block

    def own_cost(self) -> list[float]:
        """Return the seconds per step that the loop adds, one for each block; see `own_cost`."""
        return own_cost(self.loop, self.plain)[1:]  # the first block warms up

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        del state


def own_cost(loop: list[float], plain: list[float]) -> list[float]:
    """Return the difference of each block ``(N,)`` of the loop to the mean of the plain blocks around it ``(N + 1,)``.

    A drift of the machine's speed cancels.
    """
    return [whole - (before + after) / 2 for whole, before, after in zip(loop, plain[:-1], plain[1:], strict=True)]


class ReadyTask(Task):
    """A task of a stand-in network, with data ready in memory, that is never evaluated but at its end."""

    def __init__(self, config: Any, shape: Outline, block: int, evaluation: Any) -> None:
        self.config, self.shape, self.evaluation = config, shape, evaluation
        self.timed = Interleaved(shape, block)

    def networks(self) -> dict[str, nn.Module]:
        return {"pose": StandIn(self.shape)}

    def training_set(self) -> ReadyData:
        return ReadyData(self.config.train.batch_size * 1000, Ready(torch.zeros(self.config.train.batch_size, 1)))

    def training_groups(self) -> None:  # asked for by earlier versions
        return None

    def train_settings(self, network: str) -> Any:
        del network
        return self.config.train

    def objective(self, device: torch.device) -> Interleaved:
        del device
        return self.timed

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Any:
        del networks, device, folder
        return self.evaluation
