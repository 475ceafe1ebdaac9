"""The evaluations of a run: while training waits, or in a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pose_core.engine.distributed import any_process, broadcast_object, first_process
from pose_core.engine.evaluation_record import record_evaluation
from pose_core.engine.interfaces import Evaluation
from pose_core.engine.parallel_evaluation import Evaluator
from pose_core.engine.run import Run
from pose_core.engine.run_folder import outstanding, weights_file
from pose_core.engine.run_log import RunLog
from pose_core.measurements import without_measurements
from pose_core.models.weights import read_checkpoint

WAITING = 2
"""Evaluations that may be outstanding while training goes on."""


class Evaluations:
    """Evaluations of a run's network, and what follows from them. All processes of the run call its methods."""

    def __init__(self, run: Run, log: RunLog) -> None:
        self.run, self.log = run, log
        self.latest: Evaluation | None = None
        self.evaluator: Evaluator | None = None
        """The process that evaluates, if there is one; the run's first process has it."""
        self.is_parallel = run.config.train.evaluate_on is not None

    def catch_up(self) -> None:
        """Have the weights evaluated whose evaluation was outstanding when the run was stopped."""
        files = first_process(lambda: outstanding(self.run.folder))
        self.is_parallel = self.is_parallel or bool(files)
        if self.is_parallel and self.run.process.is_main:
            run = self.run
            self.evaluator = Evaluator(run.task, run.evaluated, run.evaluation_device, run.folder)
            for step, file in files.items():
                self.evaluator.submit(step, file)

    def request(self) -> None:
        """Have the current weights evaluated: before training goes on, or by the process that is there for it."""
        run = self.run
        if run.config.train.evaluate_on is None:
            run.due = True
            return
        run.share_statistics()
        if self.evaluator is not None:
            file = weights_file(run.folder, run.step)
            run.write_checkpoint(self.log, file, run.weights())
            self.evaluator.submit(run.step, file)
        self.collect(most=WAITING)

    def evaluate_now(self) -> None:
        """Evaluate the current weights while training waits."""
        run = self.run
        networks = {**run.networks, "pose": run.evaluated}
        run.share_statistics()
        modes = {name: network.training for name, network in networks.items()}
        with without_measurements():
            evaluation = run.task.evaluate(networks, run.process.device, run.folder)
        if run.process.is_main:
            record_evaluation(evaluation, run.config, run.process.device, f"step {run.step} of the training")
        for name, network in networks.items():
            network.train(modes[name])
        self._take(run.step, evaluation, run.weights)
        run.due = False

    def has_results(self) -> bool:
        """Return whether there are results to collect; only the first process knows."""
        return self.evaluator is not None and self.evaluator.is_ready()

    def collect(self, most: int = 0) -> None:
        """Take the results of the process that evaluates, until at most ``most`` are outstanding."""
        while self.is_parallel:
            found = [] if self.evaluator is None else self.evaluator.collect()
            for step, file, evaluation in found:
                self._take(step, evaluation, partial(read_checkpoint, file))
            if any_process(bool(found)):
                self.run.save(self.log, {})
                for finished in found:
                    finished.file.unlink(missing_ok=True)
            if not any_process(self.evaluator is not None and len(self.evaluator.waiting) > most):
                break
            if self.evaluator is not None:
                self.evaluator.is_ready(seconds=1)

    def last(self) -> Evaluation:
        """Return the run's latest evaluation, which is made if there is none yet."""
        self.collect()
        self.latest = broadcast_object(self.latest)
        if self.latest is None:
            self.evaluate_now()
            self.run.save(self.log, {})
            assert self.latest is not None
        return self.latest

    def close(self) -> None:
        """End the process that evaluates."""
        if self.evaluator is not None:
            self.evaluator.close()

    def _take(self, step: int, evaluation: Evaluation, weights: Callable[[], Mapping[str, Any]]) -> None:
        """Log the evaluation of a step, and keep its weights if they are the best."""
        run, self.latest = self.run, evaluation
        epoch = max(step - 1, 0) // run.steps_per_epoch
        self.log.record("val", step, epoch, evaluation.metrics, prefix=f"{run.config.data.layout}/")
        self.log.say(evaluation.report if step == run.step else f"step {step}:\n{evaluation.report}")
        if evaluation.value > run.best:
            run.best = evaluation.value
            if run.process.is_main:
                content = {**weights(), "metrics": dict(evaluation.metrics)}
                run.write_checkpoint(self.log, run.folder / "best.pt", content)
