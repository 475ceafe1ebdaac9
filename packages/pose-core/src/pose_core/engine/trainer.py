"""The training loop, to be read from top to bottom.

    torchrun --standalone --nproc_per_node=4 -m pose_lite train --cfg coco_lpn50_256x192

One process needs no launcher. The order of samples, their augmentation and the learning rate are functions of the seed
and the step, so a run that was killed continues exactly from its last checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import active_children
from pathlib import Path
from shlex import quote
from typing import NoReturn

from torch import Tensor
from tqdm import tqdm

from pose_core.data.sampler import watching_workers
from pose_core.engine.budget import Pace
from pose_core.engine.clock import Clock
from pose_core.engine.distributed import Agreement, any_process, broadcast_object, first_process, process_group
from pose_core.engine.evaluations import WAITING, Evaluations
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.engine.interrupt import Interrupt, closable_output, ending_processes, interruptible
from pose_core.engine.precision import fixed_sizes
from pose_core.engine.run import Run
from pose_core.engine.run_folder import (
    CHECKPOINT,
    Resume,
    RunLock,
    checkpoints,
    holds_run,
    outstanding,
    run_path,
    start,
)
from pose_core.engine.run_log import RunLog
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.installation import shell_command
from pose_core.plurals import counted
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
        run = Run(task, process, path)
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
        repeated = [*outstanding(path), *([run.step] if run.due else [])]
        with (
            RunLog(path, is_main=process.is_main, step=run.step, due=repeated, lock=lock) as log,
            interruptible() as interrupt,
        ):
            for note in notes:
                log.say(note)
            loop = Loop(run, log, interrupt, pace)
            stack.callback(loop.close)
            with _telling_how_to_go_on(run):
                return loop.go()


@contextmanager
def _telling_how_to_go_on(run: Run) -> Iterator[None]:
    """Add to an error that ends a run how to continue it, unless the error's message already names an option."""
    try:
        yield
    except PoseError as error:
        if "--" not in str(error) and not isinstance(error, ConfigError) and checkpoints(run.folder):
            error.args = (
                f"{error}. Training is saved up to step {run.saved}: once this is solved, run the same command with "
                "--resume",
            )
        raise


class Loop:
    """The loop over the steps of a run, with evaluations in between."""

    def __init__(self, run: Run, log: RunLog, interrupt: Interrupt, pace: Pace | None = None) -> None:
        self.run, self.log, self.interrupt, self.pace = run, log, interrupt, pace
        self.evaluations = Evaluations(run, log)
        self.agreement = Agreement()
        self.clock = Clock(run.total_steps)
        self.batches = run.batches()
        self.others = set(active_children())
        """Processes that are not the training's."""

    @watching_workers()
    def go(self) -> Result:
        """Train to the end, or to an interrupt."""
        run, log = self.run, self.log
        if run.feed.data.mixture is not None:
            log.say(run.feed.data.mixture.table())
        log.say(f"{counted(run.feed.length, 'sample')}, {describe_steps(run)}, run folder {run.folder}")
        if run.step >= run.total_steps and not run.due:
            log.say(f"this run is finished at step {run.step}; train.epochs makes it longer")
        if run.step == 0 and run.total_steps:
            run.save(log, {})  # a run that diverges in its first steps keeps its initial state
        self.evaluations.catch_up()
        hidden = no_bar(elsewhere=not log.is_main)
        with tqdm(total=run.total_steps, initial=run.step, unit="step", disable=hidden) as bar:
            while run.due or run.step < run.total_steps:
                if not run.due:
                    with fixed_sizes(run.process.device):
                        try:
                            finished = self._train_epoch(bar)
                        except DataError:  # of the next batch: the steps before it are whole
                            if run.process.world_size == 1 and run.step > run.saved:
                                run.save(log, {})
                            raise
                    if not finished:
                        return self._stopped()
                if run.due:
                    try:
                        with self.interrupt.immediate():
                            self.evaluations.evaluate_now()
                    except KeyboardInterrupt:
                        return self._stopped()
                    run.save(log, {})
            try:
                with self.interrupt.immediate():
                    evaluation = self.evaluations.last()
            except KeyboardInterrupt:
                return self._stopped()
        log.say(f"best {evaluation.name} {run.best:.4f}, weights in {run.folder / 'best.pt'}", always=True)
        if evaluation.metrics and find_spec("jinja2"):  # which a report needs
            log.say(f"to see what it consists of: {shell_command('pose')} report {quote(str(run.folder))}")
        return Result(run.folder, run.step, evaluation)

    def close(self) -> None:
        """End the loader's processes and the one that evaluates: what is left to Python's end may wait for ever."""
        with ending_processes():
            self.batches.close()
            self.evaluations.close()
            # PyTorch leaves loaders behind if it is interrupted while it ends them.
            for process in set(active_children()) - self.others:
                process.kill()
                process.join()

    def _train_epoch(self, bar: tqdm[NoReturn]) -> bool:
        """Train to the end of the epoch or of the run, and return True; return False if interrupted before."""
        run, settings = self.run, self.run.config.train
        epoch = run.step // run.steps_per_epoch
        for batch in self.clock.timed(self.batches):
            values = run.train_step(batch)
            run.step += 1
            bar.update()
            self.clock.count(sum(map(len, batch)) * run.process.world_size)
            if self.pace is not None:
                self._keep_pace(self.pace, bar)
            is_end = run.step % run.steps_per_epoch == 0 or run.step == run.total_steps
            if is_end and self._is_evaluated(epoch):
                self.evaluations.request()
            if run.step % settings.log_every == 0 or is_end:
                self._report(epoch, values)
            is_stopping = self._agree_to_stop(now=is_end)
            if is_stopping or is_end or (settings.checkpoint_every and run.step % settings.checkpoint_every == 0):
                run.save(self.log, values)
            if is_stopping or is_end:
                return not is_stopping
        self.batches = run.batches()  # the run has become longer after its loader had ended
        return True

    def _agree_to_stop(self, *, now: bool) -> bool:
        """Return whether a process was asked to stop; else take evaluations that are finished."""
        wants = self.interrupt.asked or self.evaluations.has_results()
        if not self.agreement.any(wants, self.run.step, now=now):
            return False
        if any_process(self.interrupt.asked):
            return True
        self.evaluations.collect(most=WAITING)
        return False

    def _stopped(self) -> Result:
        """Say how to continue, and return the result so far."""
        step, saved = self.run.step, self.run.saved
        self.log.say(
            f"stopped at step {step}; to continue{f' from step {saved}' if saved != step else ''}, run the same "
            "command with --resume",
            always=True,
        )
        return Result(self.run.folder, step, None, interrupted=True)

    def _is_evaluated(self, epoch: int) -> bool:
        every = self.run.config.train.validate_every
        return self.run.step >= self.run.total_steps or bool(every and (epoch + 1) % every == 0)

    def _keep_pace(self, pace: Pace, bar: tqdm[NoReturn]) -> None:
        """Change the number of steps if ``pace`` asks for it; the schedule is stretched over the steps that remain."""
        step, before = self.run.step, self.run.total_steps
        total = broadcast_object(pace(step, before))  # the first process decides for all
        if total == before:
            return
        self.run.progress = self.run.progress.changed(step, total)
        self.clock.total_steps = bar.total = total
        how = "slower" if total < before else "faster"
        self.log.say(f"step {step}: {how} than planned, so training ends after {total:,} steps, not {before:,}")

    def _report(self, epoch: int, values: Mapping[str, Tensor]) -> None:
        run = self.run
        numbers = {name: float(value) for name, value in values.items()}
        bad = [name for name, value in numbers.items() if value != value or abs(value) == float("inf")]
        if any_process(bool(bad)):
            last = run.folder / CHECKPOINT
            raise PoseError(
                f"{', '.join(bad) or 'the loss of another process'} is not finite at step {run.step}: {numbers}. "
                f"The last good checkpoint is {last}, of step {run.saved}. Start another run from it, with "
                f"--init {last} run.name=…, and a lower train.lr, train.clip_norm, or train.precision=bf16 instead of "
                "fp16"
            )
        lr = run.updater.optimizers["pose"].param_groups[0]["lr"]
        self.log.record("train", run.step, epoch, {**numbers, "lr": lr, **self.clock.figures()})
        text = "  ".join(f"{name} {value:.6f}" for name, value in numbers.items())
        epochs = -(-run.total_steps // run.steps_per_epoch)
        speed = self.clock.text(run.step)
        self.log.say(f"epoch {epoch + 1}/{epochs}  step {run.step}  {text}  lr {lr:.2e}  {speed}")


def describe_steps(run: Run) -> str:
    """Return the number and size of a run's steps, and how they are divided."""
    size, world, accumulate = run.feed.batch_size, run.process.world_size, run.config.train.accumulate
    text = f"{run.steps_per_epoch} steps per epoch, {run.total_steps} steps of {counted(size, 'sample')}"
    if world > 1:
        text += f", {size // world} in each of {world} processes"
    if accumulate > 1:
        text += f", {size // world // accumulate} at a time,"
    return f"{text} on {run.process.device if world == 1 else run.process.device.type}"
