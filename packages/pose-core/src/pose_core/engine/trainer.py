"""The training loop, to be read from top to bottom.

    torchrun --standalone --nproc_per_node=4 -m pose_lite train --cfg coco_lpn50_256x192

One process needs no launcher. The order of samples, their augmentation and the learning rate are functions of the seed
and the step, so a run that was killed continues exactly from its last checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pose_core.config import dump_config
from pose_core.engine.budget import Pace
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
from pose_core.engine.clock import Clock
from pose_core.engine.distributed import (
    Agreement,
    ProcessContext,
    any_process,
    broadcast_object,
    first_process,
    gather_objects,
    process_group,
)
from pose_core.engine.ema import Average
from pose_core.engine.feeding import Feed
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.engine.interrupt import Interrupt, closable_output, interruptible
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.parallel_evaluation import Evaluator
from pose_core.engine.precision import autocast, dtype_of, fixed_sizes, inference_dtype
from pose_core.engine.run_folder import (
    CHECKPOINT,
    Resume,
    RunLock,
    checkpoints,
    holds_run,
    outstanding,
    run_path,
    start,
    weights_file,
)
from pose_core.engine.run_log import RunLog
from pose_core.engine.schedule import Progress, lr_factor
from pose_core.errors import ConfigError, PoseError
from pose_core.models.weights import load_weights, read_checkpoint
from pose_core.plurals import counted
from pose_core.structures import Batch
from pose_core.verbosity import no_bar

WAITING = 2
"""Evaluations that may be outstanding while training goes on."""


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
        lock = RunLock(path)
        first_process(lambda: stack.enter_context(lock))
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
        stack.callback(run.close)
        repeated = [*outstanding(path), *([run.step] if run.due else [])]
        with (
            RunLog(path, is_main=process.is_main, step=run.step, due=repeated, lock=lock) as log,
            interruptible() as interrupt,
        ):
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
        self.feed = Feed(task.training_set(), self.config, process)
        self.steps_per_epoch = self.feed.steps_per_epoch
        total_steps = settings.epochs * self.steps_per_epoch
        if settings.iterations is not None:
            total_steps = min(total_steps, settings.iterations)
        self.progress = Progress(total_steps)
        self.agreement = Agreement()
        self.evaluator: Evaluator | None = None
        self.is_parallel = settings.evaluate_on is not None
        """Whether another process evaluates while training goes on; the first process of the run holds it."""
        if self.is_parallel and process.is_main:
            self.evaluator = self._make_evaluator()
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
        self.batches = self._load()
        self.evaluation: Evaluation | None = None
        """The latest."""
        seed_everything(self.config.run.seed, process.rank)

    @property
    def total_steps(self) -> int:
        """The number of steps of the whole run."""
        return self.progress.total_steps

    def _batch_in_words(self) -> str:
        """Return the size of a step's batch, and how it is divided."""
        size, world, accumulate = self.feed.batch_size, self.process.world_size, self.config.train.accumulate
        text = counted(size, "sample")
        if world > 1:
            text += f", {size // world} in each of {world} processes"
        return text + (f", {size // world // accumulate} at a time," if accumulate > 1 else "")

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
        device = self.process.device if self.process.world_size == 1 else self.process.device.type
        log.say(
            f"{self.feed.length} samples, {self.steps_per_epoch} steps per epoch, {self.total_steps} steps of "
            f"{self._batch_in_words()} on {device}, run folder {self.folder}"
        )
        if self.step >= self.total_steps and not self.due:
            log.say(f"this run is finished at step {self.step}; train.epochs makes it longer")
        if self.step == 0 and self.total_steps:
            self.save(log, {})  # a run that diverges in its first steps keeps its initial state
        self._catch_up()
        clock = Clock(self.total_steps)
        self.batches = self._load()
        with tqdm(
            total=self.total_steps, initial=self.step, unit="step", disable=no_bar(elsewhere=not log.is_main)
        ) as bar:
            while self.due or self.step < self.total_steps:
                if not self.due:
                    with fixed_sizes(self.process.device):
                        finished = self._train_epoch(log, interrupt, clock, bar)
                    if not finished:
                        return self._stopped(log)
                if self.due:
                    try:
                        with interrupt.immediate():
                            self._evaluate(log)
                    except KeyboardInterrupt:
                        return self._stopped(log)
                    self.due = False
                    self.save(log, {})
            try:
                with interrupt.immediate():
                    self._collect(log)
            except KeyboardInterrupt:
                return self._stopped(log)
        evaluation = broadcast_object(self.evaluation)
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
            clock.count(sum(map(len, batch)) * self.process.world_size)
            if self.pace is not None:
                self._keep_pace(self.pace, log, clock, bar)
            is_end = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
            if is_end and self._is_evaluated(epoch):
                self._let_evaluate(log)
            if self.step % settings.log_every == 0 or is_end:
                self._report(log, clock, epoch, values)
            stopping = False
            if self.agreement.any(interrupt.asked or self._has_results(), self.step, now=is_end):
                stopping = any_process(interrupt.asked)
                if not stopping:
                    self._collect(log, most=WAITING)
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

    def _load(self) -> Generator[list[Batch], None, None]:
        """Yield the batches from the current step to the end of the run."""
        return self.feed.batches(self.step, lambda: self.total_steps)

    def _train_step(self, batch: Sequence[Batch]) -> dict[str, Tensor]:
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

    def _report(self, log: RunLog, clock: Clock, epoch: int, values: Mapping[str, Tensor]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        bad = [name for name, value in numbers.items() if value != value or abs(value) == float("inf")]
        if any_process(bool(bad)):
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
        """Evaluate the network while training waits."""
        networks = {**self.networks, "pose": self.evaluated}
        self._agree()
        modes = {name: network.training for name, network in networks.items()}
        evaluation = self.task.evaluate(networks, self.process.device, self.folder)
        for name, network in networks.items():
            network.train(modes[name])
        self._take(log, self.step, evaluation, self._weights)
        return evaluation

    def _take(self, log: RunLog, step: int, evaluation: Evaluation, weights: Callable[[], Mapping[str, Any]]) -> None:
        """Log the evaluation of a step, and keep its weights if they are the best."""
        self.evaluation = evaluation
        epoch = max(step - 1, 0) // self.steps_per_epoch
        log.record("val", step, epoch, evaluation.metrics, prefix=f"{self.config.data.layout}/")
        log.say(evaluation.report if step == self.step else f"step {step}:\n{evaluation.report}")
        if evaluation.value > self.best:
            self.best = evaluation.value
            if self.process.is_main:
                self._save_checkpoint(log, self.folder / "best.pt", {**weights(), "metrics": dict(evaluation.metrics)})

    def _weights(self) -> dict[str, Any]:
        """Return the content of a file with the weights to evaluate, and what is needed to use them."""
        return {
            "method": self.config.method,
            "config": dump_config(self.config),
            **record_place(self.config),
            "step": self.step,
            "weights": self.evaluated.state_dict(),
        }

    def _make_evaluator(self) -> Evaluator:
        config = self.config
        return Evaluator(self.task, self.evaluated, config.train.evaluate_on or config.run.device, self.folder)

    def _catch_up(self) -> None:
        """Have the weights evaluated whose evaluation was outstanding when the run was stopped."""
        files = first_process(lambda: outstanding(self.folder))
        self.is_parallel = self.is_parallel or bool(files)
        if self.process.is_main and files:
            self.evaluator = self.evaluator or self._make_evaluator()
            for step, file in files.items():
                self.evaluator.submit(step, file)

    def _let_evaluate(self, log: RunLog) -> None:
        """Have the current weights evaluated: next, or by the process that is there for it."""
        if self.config.train.evaluate_on is None:
            self.due = True
            return
        self._agree()
        if self.evaluator is not None:
            file = weights_file(self.folder, self.step)
            self._save_checkpoint(log, file, self._weights())
            self.evaluator.submit(self.step, file)
        self._collect(log, most=WAITING)

    def _has_results(self) -> bool:
        return self.evaluator is not None and self.evaluator.is_ready()

    def _collect(self, log: RunLog, most: int = 0) -> None:
        """Take the results of the process that evaluates, until at most ``most`` are outstanding."""
        while self.is_parallel:
            found = [] if self.evaluator is None else self.evaluator.collect()
            for step, file, evaluation in found:
                self._take(log, step, evaluation, lambda file=file: read_checkpoint(file))  # type: ignore[misc]
            if any_process(bool(found)):
                self.save(log, {})
                for finished in found:
                    finished.file.unlink()
            if not any_process(self.evaluator is not None and len(self.evaluator.waiting) > most):
                return
            if self.evaluator is not None:
                self.evaluator.is_ready(seconds=1)

    def close(self) -> None:
        """End the loader's processes and the one that evaluates: what is left to Python's end may wait for ever."""
        self.batches.close()
        if self.evaluator is not None:
            self.evaluator.close()

    @property
    def evaluated(self) -> nn.Module:
        """Return the network to score and to save for users: the average if there is one."""
        return self.networks["pose"] if self.average is None else self.average.network

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
        self._agree()
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
        self._save_checkpoint(log, self.folder / CHECKPOINT, content, self.config.train.keep)

    def _save_checkpoint(self, log: RunLog, path: Path, content: dict[str, Any], keep: int = 1) -> None:
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
