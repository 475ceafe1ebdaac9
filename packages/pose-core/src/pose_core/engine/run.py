"""A training run: its networks, what trains them, and where it is, as checkpoints hold it."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pose_core.config import dump_config
from pose_core.engine.checkpoint import (
    SAVE_WAITS,
    annotations_digest,
    random_state,
    read_last_checkpoint,
    record_place,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from pose_core.engine.distributed import ProcessContext, any_process, choose_device, first_process, gather_objects
from pose_core.engine.ema import Average
from pose_core.engine.feeding import Feed
from pose_core.engine.interfaces import Task
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.precision import autocast, dtype_of, inference_dtype
from pose_core.engine.run_folder import CHECKPOINT, checkpoints, outstanding
from pose_core.engine.run_log import RunLog
from pose_core.engine.schedule import Progress, lr_factor
from pose_core.errors import ConfigError, PoseError
from pose_core.models.weights import load_weights, read_checkpoint
from pose_core.structures import Batch


class Run:
    """The state of a training run in one of its processes."""

    def __init__(self, task: Task, process: ProcessContext, folder: Path) -> None:
        self.task, self.process, self.folder = task, process, folder
        self.config, settings = task.config, task.config.train
        seed_everything(self.config.run.seed, 0)  # every process starts from the same weights
        self.networks = {name: network.to(process.device) for name, network in task.networks().items()}
        if settings.channels_last:
            self.networks = {
                name: network.to(memory_format=torch.channels_last) for name, network in self.networks.items()
            }
        if settings.sync_bn and process.world_size > 1:
            convert = nn.SyncBatchNorm.convert_sync_batchnorm
            self.networks = {n: convert(net) for n, net in self.networks.items()}  # type: ignore[no-untyped-call]
        self.average = Average(self.networks["pose"], settings.ema) if settings.ema else None
        self.objective = task.objective(process.device)
        self.wrapped = {name: self._wrap(network) for name, network in self.networks.items()}
        self.settings = {name: task.train_settings(name) for name in self.networks}
        optimizers = {
            name: build_optimizer(net, self.settings[name], process.device) for name, net in self.networks.items()
        }
        self.updater = Updater(self.wrapped, optimizers, settings)
        self.feed = Feed(task.training_set(), self.config, process)
        self.steps_per_epoch = self.feed.steps_per_epoch
        total_steps = settings.epochs * self.steps_per_epoch
        if settings.iterations is not None:
            total_steps = min(total_steps, settings.iterations)
        self.progress = Progress(total_steps)
        self.precision = dtype_of(settings.precision)
        if settings.precision == "fp16" and process.device.type != "cuda":
            raise ConfigError(
                f"train.precision=fp16 needs a GPU: on {process.device.type} small gradients would vanish; use bf16 or "
                "fp32"
            )
        self.evaluation_device = process.device
        if settings.evaluate_on is not None:
            self.evaluation_device = choose_device(settings.evaluate_on, key="train.evaluate_on")
        inference_dtype(self.config.test.precision, self.evaluation_device)  # refused now, not after an epoch
        self.annotations = annotations_digest(self.config) if process.is_main else None
        self.step = 0
        self.saved = 0
        """The step of the last checkpoint."""
        self.due = False
        """Whether an epoch has ended whose evaluation is outstanding."""
        self.best = float("-inf")
        seed_everything(self.config.run.seed, process.rank)

    @property
    def total_steps(self) -> int:
        """The number of steps of the whole run."""
        return self.progress.total_steps

    @property
    def evaluated(self) -> nn.Module:
        """Return the network to score and to save for users: the average if there is one."""
        return self.networks["pose"] if self.average is None else self.average.network

    def _wrap(self, network: nn.Module) -> nn.Module:
        wrapped: nn.Module = network
        if self.process.world_size > 1:
            devices = [self.process.device] if self.process.device.type == "cuda" else None
            wrapped = DistributedDataParallel(wrapped, device_ids=devices)
            # Batch statistics are the first process's; `share_statistics` sends them when they are needed. PyTorch 2.13
            # has renamed this.
            synced = "forward_sync_buffers" if hasattr(wrapped, "forward_sync_buffers") else "broadcast_buffers"
            setattr(wrapped, synced, False)
        return torch.compile(wrapped) if self.config.train.compile else wrapped  # type: ignore[return-value]

    def batches(self) -> Generator[list[Batch], None, None]:
        """Yield the batches from the current step to the end of the run."""
        return self.feed.batches(self.step, lambda: self.total_steps)

    def train_step(self, batch: Sequence[Batch]) -> dict[str, Tensor]:
        """Run one optimizer step on a batch's micro-batches, and return the values to log."""
        self.updater.set_lr(
            {
                name: own.lr * lr_factor(own, self.step, self.steps_per_epoch, self.progress)
                for name, own in self.settings.items()
            }
        )
        for network in self.networks.values():
            if not network.training:
                network.train()
        values: dict[str, Tensor] = {}
        for number, part in enumerate(batch):
            with self.updater.micro_batch(number), autocast(self.process.device, self.precision):
                for name, value in self.objective.step(self.wrapped, part, self.updater).items():
                    values[name] = values.get(name, 0) + value.detach() / len(batch)
        if self.average is not None:
            self.average.update()
        return values

    def share_statistics(self) -> None:
        """Give all processes the first one's batch statistics, so that they evaluate and save the same network."""
        if self.process.world_size > 1:
            for network in (*self.networks.values(), self.evaluated):
                for buffer in network.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def weights(self) -> dict[str, Any]:
        """Return the content of a file with the weights to evaluate, and what is needed to use them."""
        return {
            "method": self.config.method,
            "config": dump_config(self.config),
            **record_place(self.config),
            "step": self.step,
            "weights": self.evaluated.state_dict(),
        }

    def save(self, log: RunLog, values: Mapping[str, Tensor]) -> None:
        """Write last.pt, unless the latest loss or a weight is not finite: the last good checkpoint is kept."""
        weights = (parameter.detach() for network in self.networks.values() for parameter in network.parameters())
        finite = torch.stack([torch.isfinite(value).all() for value in chain(values.values(), weights)]).all()
        if any_process(not finite):
            log.say(
                f"step {self.step} is not saved, since the loss or a weight is not finite; the last checkpoint, "
                f"{self.folder / CHECKPOINT}, is of step {self.saved}",
                always=True,
            )
            return
        self.share_statistics()
        states = gather_objects(random_state(self.process.device))
        first_process(lambda: self._write(log, states))
        self.saved = self.step

    def _write(self, log: RunLog, states: list[dict[str, Any]]) -> None:
        if log.restore_folder():
            self.best = float("-inf")  # best.pt is gone
        content = {
            "method": self.config.method,
            "config": dump_config(self.config),
            **record_place(self.config),
            "annotations": self.annotations,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "due": self.due,
            "progress": self.progress._asdict(),
            "best": self.best,
            "weights": self.evaluated.state_dict(),
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "average_updates": self.average.updates if self.average else 0,
            "updater": self.updater.state_dict(),
            "objective": self.objective.state_dict(),
            "random": states,
        }
        self.write_checkpoint(log, self.folder / CHECKPOINT, content, self.config.train.keep)

    def write_checkpoint(self, log: RunLog, path: Path, content: dict[str, Any], keep: int = 1) -> None:
        """Write a checkpoint, with a few attempts: a disk may be full, or a network file system away, for a moment."""
        for wait in (*SAVE_WAITS, None):
            try:
                save_checkpoint(path, content, keep)
                return
            except PoseError as error:
                if wait is None:
                    again = (
                        f"The last complete checkpoint is of step {self.saved}: once it can be written, run the same "
                        "command with --resume"
                        if checkpoints(self.folder)
                        else "There is no checkpoint yet: once it can be written, run the same command again"
                    )
                    raise PoseError(f"{error}. {again}") from None
                log.say(f"{error}; trying again in {wait:g} s", always=True)
                time.sleep(wait)

    def start_from(self, file: Path) -> None:
        """Take the weights of a checkpoint; of a run's, also those of the networks trained together with the pose's."""
        load_weights(self.networks["pose"], file)
        content = read_checkpoint(file)
        others = content.get("networks") if isinstance(content, Mapping) else None
        for name, network in self.networks.items():
            if name != "pose" and isinstance(others, Mapping) and name in others:
                load_weights(network, others[name])
        if self.average is not None:
            self.average = Average(self.networks["pose"], self.config.train.ema)

    def restore(self, *, tolerant: bool, inexact: bool) -> list[str]:
        """Continue from the last checkpoint, which the first process reads; return what there is to say about it.

        ``tolerant`` takes the one before a damaged one. ``inexact`` allows changes that make it another training.
        """
        content, notes = first_process(
            lambda: read_last_checkpoint(
                checkpoints(self.folder),
                self.config,
                annotations=self.annotations,
                processes=self.process.world_size,
                tolerant=tolerant,
                inexact=inexact,
            )
        )
        if content["networks"].keys() != self.networks.keys():
            raise ConfigError(
                f"{self.folder} trained the networks {', '.join(content['networks'])}, but this training has "
                f"{', '.join(self.networks)}: start another run with run.name=…"
            )
        for name, network in self.networks.items():
            network.load_state_dict(content["networks"][name])
        if self.average is not None:
            self.average.network.load_state_dict(content["weights"])
            self.average.updates = content["average_updates"]
        self.updater.load_state_dict(content["updater"])
        self.objective.load_state_dict(content["objective"])
        if len(content["random"]) == self.process.world_size:
            restore_random_state(content["random"][self.process.rank], self.process.device)
        self.step, self.best, self.due = content["step"], content["best"], content.get("due", False)
        progress = Progress(**content.get("progress", {"total_steps": self.total_steps}))
        epoch = content.get("steps_per_epoch", self.steps_per_epoch)
        if epoch != self.steps_per_epoch:
            self.step = round(self.step / epoch * self.steps_per_epoch)
        elif progress.since:  # the number of steps has been changed during the training
            self.progress = progress
        self.saved = self.step
        if self.process.is_main:
            for step, file in outstanding(self.folder).items():
                if step > self.step:  # training gets there again
                    file.unlink()
        return notes
