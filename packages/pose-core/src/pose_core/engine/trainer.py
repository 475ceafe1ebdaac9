"""The training loop, to be read from top to bottom.

    torchrun --standalone --nproc_per_node=4 -m pose_lite train --cfg coco_lpn50_256x192

One process needs no launcher. The order of samples, their augmentation and the learning rate are functions of the seed
and the step, so a run that was killed continues exactly from its last checkpoint.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core.config import dump_config
from pose_core.data.sampler import batches_per_epoch, epoch_batches, loader_workers, worker_init
from pose_core.engine.budget import Pace
from pose_core.engine.checkpoint import (
    random_state,
    read_run_checkpoint,
    record_place,
    restore_random_state,
    save_checkpoint,
    seed_everything,
)
from pose_core.engine.distributed import ProcessContext, any_process, barrier, gather_objects, process_group
from pose_core.engine.ema import Average
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.precision import autocast, dtype_of
from pose_core.engine.run_folder import Resume, RunLog, prepare, run_path
from pose_core.engine.schedule import Progress, lr_factor
from pose_core.errors import ConfigError, PoseError
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
    overwrite: bool = False,
    folder: Path | None = None,
    pace: Pace | None = None,
) -> Result:
    """Train a task into its run folder; with ``resume``, from the last checkpoint there, which must exist.

    ``resume="auto"`` starts from the beginning if there is no run yet. ``pace`` may change the number of steps during
    the training so that it ends in time.
    """
    config = task.config
    with process_group(config.run.device) as process:
        path = folder or run_path(config)
        found, refusal = False, None
        if process.is_main:
            try:
                found = prepare(path, config, resume=resume, overwrite=overwrite)
            except PoseError as error:
                refusal = error
        found, refusal = gather_objects((found, refusal))[0]
        if refusal is not None:
            # All processes stop, and one says why.
            raise refusal if process.is_main else SystemExit(refusal.exit_code)
        run = Run(task, process, path, pace)
        if found:
            run.restore()
        with RunLog(path, is_main=process.is_main, step=run.step) as log, interruptible() as interrupt:
            if resume and not found:
                log.say(f"nothing to resume in {path}: starting from the beginning")
            return run.go(log, interrupt)


class Interrupt:
    """A flag set by Ctrl-C or a termination signal; the loop checks it after each step."""

    asked = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Handle signals: the first Ctrl-C or SIGTERM requests a stop, the second stops immediately."""
    interrupt = Interrupt()

    def ask(number: int, frame: FrameType | None) -> None:
        if interrupt.asked:
            raise KeyboardInterrupt
        interrupt.asked = True

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    except ValueError:  # only the main thread may handle signals
        pass
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        self.wrapped = {name: self._wrap(name, network) for name, network in self.networks.items()}
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
        self.step = 0
        self.best = float("-inf")
        seed_everything(self.config.run.seed, process.rank)

    @property
    def total_steps(self) -> int:
        """The number of steps of the whole run."""
        return self.progress.total_steps

    def _wrap(self, name: str, network: nn.Module) -> nn.Module:
        settings = self.config.train
        wrapped: nn.Module = network
        if self.process.world_size > 1:
            devices = [self.process.device] if self.process.device.type == "cuda" else None
            # A network that runs several times before its backward pass must keep its buffers in between.
            once = name not in self.task.repeated_networks
            wrapped = DistributedDataParallel(wrapped, device_ids=devices, broadcast_buffers=once)
        return torch.compile(wrapped) if settings.compile else wrapped  # type: ignore[return-value]

    def go(self, log: RunLog, interrupt: Interrupt) -> Result:
        """Train to the end, or to an interrupt."""
        settings, evaluation = self.config.train, None
        log.say(
            f"{self.length} samples, {self.steps_per_epoch} steps per epoch, {self.total_steps} steps, "
            f"{_processes(self.process.world_size)} on {self.process.device}, run folder {self.folder}"
        )
        if self.step >= self.total_steps:
            log.say(f"this run is finished at step {self.step}; train.epochs makes it longer")
        if self.step == 0 and self.total_steps:
            self.save({})  # a run that diverges in its first steps keeps its initial state
        clock = Clock(self.total_steps)
        with tqdm(
            total=self.total_steps, initial=self.step, unit="step", disable=no_bar(elsewhere=not log.is_main)
        ) as bar:
            while self.step < self.total_steps:
                epoch = self.step // self.steps_per_epoch
                for batch in clock.timed(self._batches(epoch)):
                    values = self._train_step(batch)
                    self.step += 1
                    bar.update()
                    clock.count(len(batch) * self.process.world_size)
                    if self.pace is not None:
                        self._keep_pace(self.pace, log, clock, bar)
                    is_end = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
                    if self.step % settings.log_every == 0 or is_end:
                        self._report(log, clock, epoch, values)
                    stopping = any_process(interrupt.asked, self.process.device)
                    if stopping or (
                        settings.checkpoint_every and self.step % settings.checkpoint_every == 0 and not is_end
                    ):
                        self.save(values)
                    if stopping:
                        log.say(
                            f"stopped at step {self.step}; to continue, run the same command with --resume",
                            always=True,
                        )
                        return Result(self.folder, self.step, evaluation, interrupted=True)
                    if self.step == self.total_steps:
                        break
                if self._is_evaluated(epoch):
                    evaluation = self._evaluate(log, epoch)
                self.save(values)
        if evaluation is None:
            evaluation = self._evaluate(log, max(self.step - 1, 0) // self.steps_per_epoch)
            self.save({})
        log.say(f"best {evaluation.name} {self.best:.4f}, weights in {self.folder / 'best.pt'}", always=True)
        return Result(self.folder, self.step, evaluation)

    def _is_evaluated(self, epoch: int) -> bool:
        every = self.config.train.validate_every
        return self.step >= self.total_steps or bool(every and (epoch + 1) % every == 0)

    def _keep_pace(self, pace: Pace, log: RunLog, clock: Clock, bar: tqdm[NoReturn]) -> None:
        """Change the number of steps if ``pace`` asks for it; the schedule is stretched over the steps that remain."""
        before = self.total_steps
        total = gather_objects(pace(self.step, before))[0]  # the first process decides for all
        if total == before:
            return
        self.progress = self.progress.changed(self.step, total)
        clock.total_steps = bar.total = total
        direction = "slower" if total < before else "faster"
        log.say(f"step {self.step}: {direction} than planned, so training ends after {total:,} steps, not {before:,}")

    def _batches(self, epoch: int) -> Iterator[Batch]:
        settings, process = self.config.train, self.process
        keys = epoch_batches(
            self.length,
            epoch,
            self.config.run.seed,
            settings.batch_size,
            process.rank,
            process.world_size,
            groups=self.groups,
            start_batch=self.step % self.steps_per_epoch,
            drop_last=self.drop_last,
        )
        workers = loader_workers(settings.workers)
        loader = DataLoader(
            self.data,
            batch_sampler=keys,  # keys are (epoch, index), not indices alone
            collate_fn=self.data.collate,
            num_workers=workers,
            worker_init_fn=worker_init,
            pin_memory=process.device.type == "cuda",
            prefetch_factor=4 if workers else None,
            # A loader draws a seed when it starts; with the global generator, a resumed epoch would differ.
            generator=torch.Generator().manual_seed(self.config.run.seed),
        )
        for batch in loader:
            yield self.data.to_device(batch, process.device)

    def _train_step(self, batch: Batch) -> dict[str, Tensor]:
        settings = self.config.train
        self.updater.set_lr(
            {
                name: own.lr * lr_factor(own, self.step, self.steps_per_epoch, self.progress)
                for name, own in self.settings.items()
            }
        )
        for network in self.networks.values():
            network.train()
        values: dict[str, Tensor] = {}
        for number, part in enumerate(batch.split(settings.accumulate)):
            with self.updater.micro_batch(number), autocast(self.process.device, self.precision):
                for name, value in self.objective.step(self.wrapped, part, self.updater).items():
                    values[name] = values.get(name, 0) + value.detach() / settings.accumulate
        if self.average is not None:
            self.average.update(self.networks["pose"])
        return values

    def _report(self, log: RunLog, clock: Clock, epoch: int, values: Mapping[str, Tensor]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        bad = [name for name, value in numbers.items() if value != value or abs(value) == float("inf")]
        if any_process(bool(bad), self.process.device):
            raise PoseError(
                f"{', '.join(bad) or 'the loss of another process'} is not finite at step {self.step}: {numbers}. "
                f"The last good checkpoint is {self.folder / 'last.pt'}; try a lower train.lr, train.clip_norm, or "
                "train.precision=bf16 instead of fp16"
            )
        lr = self.updater.optimizers["pose"].param_groups[0]["lr"]
        log.record("train", self.step, epoch, {**numbers, "lr": lr, **clock.figures()})
        text = "  ".join(f"{name} {value:.6f}" for name, value in numbers.items())
        epochs = -(-self.total_steps // self.steps_per_epoch)
        log.say(f"epoch {epoch + 1}/{epochs}  step {self.step}  {text}  lr {lr:.2e}  {clock.text(self.step)}")

    def _evaluate(self, log: RunLog, epoch: int) -> Evaluation:
        networks = {**self.networks, "pose": self.evaluated}
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

    def save(self, values: Mapping[str, Tensor]) -> None:
        """Write last.pt, unless the latest loss or a weight is not finite: the last good checkpoint is kept."""
        weights = (parameter.detach() for network in self.networks.values() for parameter in network.parameters())
        if any_process(
            any(not bool(torch.isfinite(value).all()) for value in chain(values.values(), weights)), self.process.device
        ):
            return
        states = gather_objects(random_state(self.process.device))
        if self.process.is_main:
            save_checkpoint(
                self.folder / "last.pt",
                {
                    "method": self.config.method,
                    "config": dump_config(self.config),
                    **record_place(self.config),
                    "step": self.step,
                    "progress": self.progress._asdict(),
                    "best": self.best,
                    "weights": self.evaluated.state_dict(),
                    "networks": {name: network.state_dict() for name, network in self.networks.items()},
                    "average_updates": self.average.updates if self.average else 0,
                    "updater": self.updater.state_dict(),
                    "objective": self.objective.state_dict(),
                    "random": states,
                },
            )
        barrier()

    def restore(self) -> None:
        """Continue from last.pt."""
        content = read_run_checkpoint(self.folder / "last.pt", self.config)
        if len(content["random"]) != self.process.world_size:
            raise ConfigError(
                f"{self.folder / 'last.pt'} was written by {_processes(len(content['random']))}, but this run has "
                f"{_processes(self.process.world_size)}: resume with the same number"
            )
        for name, network in self.networks.items():
            network.load_state_dict(content["networks"][name])
        if self.average is not None:
            self.average.network.load_state_dict(content["weights"])
            self.average.updates = content["average_updates"]
        self.updater.load_state_dict(content["updater"])
        self.objective.load_state_dict(content["objective"])
        restore_random_state(content["random"][self.process.rank], self.process.device)
        self.step, self.best = content["step"], content["best"]
        progress = Progress(**content.get("progress", {"total_steps": self.total_steps}))
        if progress.since:  # the number of steps has been changed during the training
            self.progress = progress


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"


class Clock:
    """A clock for the speed of a run: samples per second, time spent waiting for data, time left."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._reset()

    def _reset(self) -> None:
        self.start, self.waited, self.samples, self.steps = time.perf_counter(), 0.0, 0, 0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches, and measure the time spent waiting for them."""
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - before
            if batch is None:
                return
            yield batch

    def count(self, samples: int) -> None:
        """Count the samples of one step."""
        self.samples += samples
        self.steps += 1

    def figures(self) -> dict[str, float]:
        """Return samples per second and the share of time spent waiting for data."""
        seconds = max(time.perf_counter() - self.start, 1e-9)
        return {"samples_per_second": round(self.samples / seconds, 2), "data_share": round(self.waited / seconds, 4)}

    def text(self, step: int) -> str:
        """Return speed, data time per step and time left as text; start the next interval."""
        seconds = max(time.perf_counter() - self.start, 1e-9)
        left = (self.total_steps - step) * seconds / max(self.steps, 1)
        text = (
            f"Speed {self.samples / seconds:.1f} samples/s  Data {self.waited / max(self.steps, 1):.3f}s"
            f"  ETA {int(left) // 3600:d}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d}"
        )
        self._reset()
        return text
