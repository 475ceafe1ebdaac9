"""The training loop, to be read from top to bottom.

    torchrun --standalone --nproc_per_node=4 -m pose_lite train --cfg coco_lpn50_256x192

One process needs no launcher. The order of samples, their augmentation and the learning rate are functions of the seed
and the step, so a run that was killed continues exactly from its last checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core.config import dump_config
from pose_core.data.sampler import batches_per_epoch, epoch_batches, loader_workers, watched, worker_init
from pose_core.engine.budget import Pace
from pose_core.engine.checkpoint import (
    annotations_digest,
    random_state,
    read_last_checkpoint,
    record_place,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from pose_core.engine.clock import Clock
from pose_core.engine.distributed import (
    ProcessContext,
    any_process,
    broadcast_object,
    first_process,
    gather_objects,
    process_group,
)
from pose_core.engine.ema import Average
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.engine.interrupt import Interrupt, closable_output, interruptible
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.precision import autocast, dtype_of, inference_dtype
from pose_core.engine.run_folder import CHECKPOINT, Resume, RunLog, checkpoints, holds_run, locked, run_path, start
from pose_core.engine.schedule import Progress, lr_factor
from pose_core.errors import ConfigError, PoseError
from pose_core.models.weights import load_weights, read_checkpoint
from pose_core.plurals import counted
from pose_core.structures import Batch
from pose_core.verbosity import no_bar


@dataclass(frozen=True)
class Result:
    """The result of a training."""

    folder: Path
    step: int
    evaluation: Evaluation | None
    interrupted: bool = False


def train(
    task: Task,
    *,
    resume: Resume = False,
    inexact: bool = False,
    overwrite: bool = False,
    init: Path | None = None,
    folder: Path | None = None,
    pace: Pace | None = None,
) -> Result:
    """Train a task into its run folder; with ``resume``, from the last checkpoint there, which must exist.

    ``resume="auto"`` starts from the beginning if there is no run yet, and takes the checkpoint before a damaged one;
    so does a process that torchrun has restarted. ``inexact`` resumes although settings, data or the number of
    processes have changed. ``init`` is a checkpoint whose weights the training starts from. Nothing in the folder is
    touched before the new run stands: a run that is to be overwritten is moved aside. ``pace`` may change the number of
    steps during the training so that it ends in time.
    """
    config = task.config
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")):
        resume, overwrite = "auto", False
    with process_group(config.run.device) as process, ExitStack() as stack:
        path = folder or run_path(config)
        found = first_process(lambda: holds_run(path, resume=resume, overwrite=overwrite))
        run = Run(task, process, path, pace)
        if init is not None and not found:
            run.start_from(init)
        first_process(lambda: stack.enter_context(locked(path)))
        notes = run.restore(tolerant=resume == "auto", inexact=inexact) if found else []
        if not found:
            if resume:
                notes.append(f"nothing to resume in {path}: starting from the beginning")
            moved = first_process(lambda: start(path, config))
            if moved is not None:
                notes.append(
                    f"the run that was in {path} is now in {moved}; delete it when you do not need it any more"
                )
            if init is not None:
                notes.append(f"starting from the weights of {init}")
        stack.enter_context(closable_output())
        with RunLog(path, is_main=process.is_main, step=run.step, due=run.due) as log, interruptible() as interrupt:
            for note in notes:
                log.say(note)
            return run.go(log, interrupt)


class Run:
    """A training run: networks, state and loop."""

    def __init__(self, task: Task, process: ProcessContext, folder: Path, pace: Pace | None = None) -> None:
        self.task, self.process, self.folder, self.pace = task, process, folder, pace
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
        self.data = task.training_set()
        self.groups = self.data.groups if settings.share_decode else None
        self.length = len(self.data)
        if not self.length:
            raise ConfigError("the training set has no people; run `pose data check` to find out why")
        if settings.batch_size % (process.world_size * settings.accumulate):
            raise ConfigError(
                f"train.batch_size={settings.batch_size} cannot be divided among {process.world_size} processes"
                f" and train.accumulate={settings.accumulate}"
            )
        self.drop_last = settings.accumulate > 1  # a short batch would not split evenly
        self.steps_per_epoch = batches_per_epoch(
            self.length, settings.batch_size, process.world_size, drop_last=self.drop_last
        )
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
        inference_dtype(self.config.test.precision, process.device)  # refused now, not after an epoch
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

    def _wrap(self, network: nn.Module) -> nn.Module:
        wrapped: nn.Module = network
        if self.process.world_size > 1:
            devices = [self.process.device] if self.process.device.type == "cuda" else None
            wrapped = DistributedDataParallel(wrapped, device_ids=devices)
            # Batch statistics are the first process's; `_agree` sends them when they are needed. PyTorch 2.13 has
            # renamed this.
            synced = "forward_sync_buffers" if hasattr(wrapped, "forward_sync_buffers") else "broadcast_buffers"
            setattr(wrapped, synced, False)
        return torch.compile(wrapped) if self.config.train.compile else wrapped  # type: ignore[return-value]

    def _agree(self) -> None:
        """Give all processes the first one's batch statistics, so that they evaluate and save the same network."""
        if self.process.world_size > 1:
            for network in (*self.networks.values(), self.evaluated):
                for buffer in network.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def go(self, log: RunLog, interrupt: Interrupt) -> Result:
        """Train to the end, or to an interrupt."""
        evaluation = None
        log.say(
            f"{self.length} samples, {self.steps_per_epoch} steps per epoch, {self.total_steps} steps, "
            f"{counted(self.process.world_size, 'process')} on {self.process.device}, run folder {self.folder}"
        )
        if self.step >= self.total_steps and not self.due:
            log.say(f"this run is finished at step {self.step}; train.epochs makes it longer")
        if self.step == 0 and self.total_steps:
            self.save(log, {})  # a run that diverges in its first steps keeps its initial state
        clock = Clock(self.total_steps)
        self.batches = self._load()
        with tqdm(
            total=self.total_steps, initial=self.step, unit="step", disable=no_bar(elsewhere=not log.is_main)
        ) as bar:
            while self.due or self.step < self.total_steps:
                if not self.due and not self._train_epoch(log, interrupt, clock, bar):
                    return self._stopped(log)
                if self.due:
                    try:
                        with interrupt.immediate():
                            evaluation = self._evaluate(log)
                    except KeyboardInterrupt:
                        return self._stopped(log)
                    self.due = False
                    self.save(log, {})
        if evaluation is None:
            evaluation = self._evaluate(log)
            self.save(log, {})
        log.say(f"best {evaluation.name} {self.best:.4f}, weights in {self.folder / 'best.pt'}", always=True)
        return Result(self.folder, self.step, evaluation)

    def _train_epoch(self, log: RunLog, interrupt: Interrupt, clock: Clock, bar: tqdm[NoReturn]) -> bool:
        """Train to the end of the epoch or of the run, and return True; return False if interrupted before."""
        settings, epoch = self.config.train, self.step // self.steps_per_epoch
        for batch in clock.timed(self.batches):
            values = self._train_step(batch)
            self.step += 1
            bar.update()
            clock.count(len(batch) * self.process.world_size)
            if self.pace is not None:
                self._keep_pace(self.pace, log, clock, bar)
            is_end = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            self.due = is_end and self._is_evaluated(epoch)
            if self.step % settings.log_every == 0 or is_end:
                self._report(log, clock, epoch, values)
            stopping = any_process(interrupt.asked, self.process.device)
            if stopping or is_end or (settings.checkpoint_every and self.step % settings.checkpoint_every == 0):
                self.save(log, values)
            if stopping or is_end:
                return not stopping
        self.batches = self._load()  # the run has become longer after its loader had ended
        return True

    def _stopped(self, log: RunLog) -> Result:
        """Say how to continue, and return the result so far."""
        log.say(
            f"stopped at step {self.step}; to continue{f' from step {self.saved}' if self.saved != self.step else ''}, "
            "run the same command with --resume",
            always=True,
        )
        return Result(self.folder, self.step, None, interrupted=True)

    def _is_evaluated(self, epoch: int) -> bool:
        every = self.config.train.validate_every
        return self.step >= self.total_steps or bool(every and (epoch + 1) % every == 0)

    def _keep_pace(self, pace: Pace, log: RunLog, clock: Clock, bar: tqdm[NoReturn]) -> None:
        """Change the number of steps if ``pace`` asks for it; the schedule is stretched over the steps that remain."""
        before = self.total_steps
        total = broadcast_object(pace(self.step, before))  # the first process decides for all
        if total == before:
            return
        self.progress = self.progress.changed(self.step, total)
        clock.total_steps = bar.total = total
        direction = "slower" if total < before else "faster"
        log.say(f"step {self.step}: {direction} than planned, so training ends after {total:,} steps, not {before:,}")

    def _keys(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the samples' keys of this process's batches, from the current step to the end of the run."""
        step = self.step
        while step < self.total_steps:
            epoch, done = divmod(step, self.steps_per_epoch)
            batches = epoch_batches(
                self.length,
                epoch,
                self.config.run.seed,
                self.config.train.batch_size,
                self.process.rank,
                self.process.world_size,
                groups=self.groups,
                start_batch=done,
                drop_last=self.drop_last,
            )
            yield from batches
            step += len(batches)

    def _load(self) -> Iterator[Batch]:
        """Yield the batches from the current step to the end of the run, all from the same loader processes."""
        workers = loader_workers(self.config.train.workers)
        loader = DataLoader(
            self.data,
            batch_sampler=self._keys(),  # keys are (epoch, index), not indices alone
            collate_fn=self.data.collate,
            num_workers=workers,
            worker_init_fn=worker_init,
            pin_memory=self.process.device.type == "cuda",
            prefetch_factor=4 if workers else None,
            # A loader draws a seed when it starts; with the global generator, a resumed run would differ.
            generator=torch.Generator().manual_seed(self.config.run.seed),
        )
        for batch in watched(loader):
            yield self.data.to_device(batch, self.process.device)

    def _train_step(self, batch: Batch) -> dict[str, Tensor]:
        settings = self.config.train
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
        for number, part in enumerate(batch.split(settings.accumulate)):
            with self.updater.micro_batch(number), autocast(self.process.device, self.precision):
                for name, value in self.objective.step(self.wrapped, part, self.updater).items():
                    values[name] = values.get(name, 0) + value.detach() / settings.accumulate
        if self.average is not None:
            self.average.update()
        return values

    def _report(self, log: RunLog, clock: Clock, epoch: int, values: Mapping[str, Tensor]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        bad = [name for name, value in numbers.items() if value != value or abs(value) == float("inf")]
        if any_process(bool(bad), self.process.device):
            raise PoseError(
                f"{', '.join(bad) or 'the loss of another process'} is not finite at step {self.step}: {numbers}. "
                f"The last good checkpoint is {self.folder / CHECKPOINT}, of step {self.saved}. Start another run from "
                f"it, with --init {self.folder / CHECKPOINT} run.name=…, and a lower train.lr, train.clip_norm, or "
                "train.precision=bf16 instead of fp16"
            )
        lr = self.updater.optimizers["pose"].param_groups[0]["lr"]
        log.record("train", self.step, epoch, {**numbers, "lr": lr, **clock.figures()})
        text = "  ".join(f"{name} {value:.6f}" for name, value in numbers.items())
        epochs = -(-self.total_steps // self.steps_per_epoch)
        log.say(f"epoch {epoch + 1}/{epochs}  step {self.step}  {text}  lr {lr:.2e}  {clock.text(self.step)}")

    def _evaluate(self, log: RunLog) -> Evaluation:
        epoch = max(self.step - 1, 0) // self.steps_per_epoch
        networks = {**self.networks, "pose": self.evaluated}
        self._agree()
        modes = {name: network.training for name, network in networks.items()}
        evaluation = self.task.evaluate(networks, self.process.device, self.folder)
        for name, network in networks.items():
            network.train(modes[name])
        log.record("val", self.step, epoch, evaluation.metrics, prefix=f"{self.config.data.layout}/")
        log.say(evaluation.report)
        if evaluation.value > self.best:
            self.best = evaluation.value
            if self.process.is_main:
                save_checkpoint(
                    self.folder / "best.pt",
                    {
                        "method": self.config.method,
                        "config": dump_config(self.config),
                        **record_place(self.config),
                        "step": self.step,
                        "metrics": dict(evaluation.metrics),
                        "weights": self.evaluated.state_dict(),
                    },
                )
        return evaluation

    @property
    def evaluated(self) -> nn.Module:
        """Return the network to score and to save for users: the average if there is one."""
        return self.networks["pose"] if self.average is None else self.average.network

    def save(self, log: RunLog, values: Mapping[str, Tensor]) -> None:
        """Write last.pt, unless the latest loss or a weight is not finite: the last good checkpoint is kept."""
        weights = (parameter.detach() for network in self.networks.values() for parameter in network.parameters())
        if any_process(
            any(not bool(torch.isfinite(value).all()) for value in chain(values.values(), weights)), self.process.device
        ):
            log.say(
                f"step {self.step} is not saved, since the loss or a weight is not finite; the last checkpoint, "
                f"{self.folder / CHECKPOINT}, is of step {self.saved}",
                always=True,
            )
            return
        self._agree()
        states = gather_objects(random_state(self.process.device))
        first_process(lambda: self._write(states))
        self.saved = self.step

    def _write(self, states: list[dict[str, Any]]) -> None:
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
        try:
            save_checkpoint(self.folder / CHECKPOINT, content, self.config.train.keep)
        except PoseError as error:
            raise PoseError(
                f"{error}. The last complete checkpoint is of step {self.saved}: once it can be written, run the same "
                "command with --resume"
            ) from None

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
        return notes
