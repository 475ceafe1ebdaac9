"""Evaluations in a process of their own, while training goes on.

Weights to evaluate lie in the run's folder, as evaluate-STEP.pt, until their result is in a checkpoint. So a killed run
loses no evaluation: a resumed one makes up for it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
from copy import deepcopy
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from torch import nn

from pose_core.engine.evaluation_record import record_evaluation
from pose_core.engine.interfaces import Evaluation, Task
from pose_core.engine.interrupt import STOPPING
from pose_core.errors import PoseError
from pose_core.measurements import without_measurements
from pose_core.models.weights import read_checkpoint
from pose_core.verbosity import Verbosity, set_verbosity

QUIT = getattr(signal, "SIGUSR2", signal.SIGTERM)
"""The signal that ends an evaluation nobody waits for any more, with its loader's processes."""


class Finished(NamedTuple):
    """A finished evaluation of the weights in ``file``, of step ``step``."""

    step: int
    file: Path
    evaluation: Evaluation


class Evaluator:
    """A process that evaluates weights on a device, one file after the other."""

    def __init__(self, task: Task, network: nn.Module, device: torch.device, folder: Path) -> None:
        self.task, self.network, self.device, self.folder = task, network, device, folder
        self.process: multiprocessing.process.BaseProcess | None = None
        self.waiting: dict[int, Path] = {}

    def submit(self, step: int, file: Path) -> None:
        """Have the weights in a file evaluated."""
        self.waiting[step] = file
        if self.process is None:
            self._start()
        try:
            self.connection.send((step, file))
        except OSError:
            self._raise_killed()

    def is_ready(self, seconds: float = 0) -> bool:
        """Return whether there is a result to collect, or an error; wait for one up to some seconds."""
        return bool(self.waiting) and self.connection.poll(seconds)

    def collect(self) -> list[Finished]:
        """Return what has been finished; raise PoseError if an evaluation failed."""
        found = []
        while self.is_ready():
            try:
                step, result = self.connection.recv()
            except (EOFError, OSError):
                self._raise_killed()
            if isinstance(result, BaseException):
                raise result
            found.append(Finished(step, self.waiting.pop(step), result))
        return found

    def close(self) -> None:
        """End the process."""
        if self.process is None:
            return
        self.connection.close()
        if self.process.is_alive() and self.waiting:
            os.kill(self.process.pid or 0, QUIT)
        self.process.join(5)
        self.process.kill()
        self.process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process could not use a GPU
        self.connection, other = context.Pipe()
        # In a file: were they sent at the start, a process killed before it has read them would block this one.
        handle, name = tempfile.mkstemp(prefix=".evaluator.pt.", dir=self.folder)
        with os.fdopen(handle, "wb") as file:
            pickle.dump((self.task, deepcopy(self.network).cpu(), self.device), file)
        self.process = context.Process(target=_evaluate_all, args=(other, Path(name), self.folder), name="evaluation")
        self.process.start()
        other.close()

    def _raise_killed(self) -> NoReturn:
        assert self.process is not None
        self.process.join(5)
        steps = " and ".join(map(str, self.waiting))
        raise PoseError(
            f"the process that evaluates on {self.device} was killed (exit code {self.process.exitcode}), most often "
            f"by the system for lack of memory, before it had evaluated step {steps}. To continue, run the same "
            "command with --resume; train.evaluate_on=null evaluates in the training's own process"
        )


def _evaluate_all(connection: Connection, work: Path, folder: Path) -> None:
    """Evaluate weights as they come, until the training ends; the work of the other process."""
    # The training stops this process, whatever signal stops the training.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(QUIT, lambda *_: sys.exit())
    set_verbosity(Verbosity.QUIET)
    task: Task
    network: nn.Module
    device: torch.device
    task, network, device = pickle.loads(work.read_bytes())
    work.unlink()
    while True:
        try:
            step, file = connection.recv()
        except EOFError:
            return
        try:
            network.load_state_dict(read_checkpoint(file)["weights"])
            with without_measurements():
                evaluation = task.evaluate({"pose": network.to(device)}, device, folder)
            record_evaluation(evaluation, task.config, device, f"step {step} of the training")
            result: Evaluation | BaseException = evaluation
        except PoseError as error:
            result = type(error)(f"the evaluation of step {step} failed: {error}")
        except Exception as error:
            result = PoseError(f"the evaluation of step {step} failed: {type(error).__name__}: {error}")
        try:
            connection.send((step, result))
        except OSError:  # the training is gone
            return
