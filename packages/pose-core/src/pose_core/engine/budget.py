"""Training within a time budget: measure how fast this machine trains, choose the settings, keep to the time."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from pose_core.data.machine import available_cores
from pose_core.engine.checkpoint import seed_everything
from pose_core.engine.distributed import choose_device
from pose_core.engine.feeding import samples_per_step
from pose_core.engine.interfaces import Task
from pose_core.engine.optim import Updater, build_optimizer
from pose_core.engine.precision import autocast, dtype_of
from pose_core.models.weights import read_checkpoint
from pose_core.structures import Batch

WARM_UP = 2
"""Steps before the clock starts: the first ones choose kernels and allocate memory."""
MIN_STEPS = 3
HOPELESS = 3.0
"""How many times slower than the best so far a first step may be to be followed by others."""
MIN_SECONDS = 0.8
BETTER = 1.05
"""The gain in speed that is worth another setting; less may be noise."""
WINDOW = 15.0
"""Seconds over which the speed of a training is measured."""
COLLAPSE = 2.0
"""The factor by which a training must be late before it is tried with fewer threads."""
TOLERANCE = 0.1
"""The share of the budget by which a training may be off before its number of steps is changed."""


@dataclass(frozen=True)
class Speed:
    """Settings of a training on this machine, and the measured speed with them."""

    settings: Mapping[str, str]
    """Values by key, such as ``train.precision``."""
    threads: int
    """Threads that share an operation on the CPU."""
    samples_per_second: float
    loading: float
    """Seconds in which one process loads a sample."""

    @property
    def workers(self) -> int:
        """The number of loader processes that keep up with the training; 0 where they would only take its cores."""
        # Processes that are not forked take seconds to start, in each epoch.
        if available_cores() <= 2 or multiprocessing.get_start_method() != "fork":
            return 0
        return min(1 + int(self.samples_per_second * self.loading), available_cores() // 2)

    @property
    def seconds_per_sample(self) -> float:
        """The time of a sample in a training with this number of loader processes."""
        step = 1 / self.samples_per_second
        return max(step, self.loading / self.workers) if self.workers else step + self.loading


def fastest_settings(
    make_task: Callable[[Mapping[str, str]], Task], *, seconds: float, say: Callable[[str], None]
) -> Speed:
    """Train a few steps with each precision, number of threads and memory format, and return the fastest.

    One setting is varied at a time. It starts with single precision on one thread, which is quick even where other
    programs use the cores; more threads follow for as long as they pay. After ``seconds`` the best so far is returned.
    The process is left with the chosen number of threads.
    """
    settings = {"train.precision": "fp32", "train.channels_last": "true"}
    task = make_task(settings)
    batch, loading = load_batch(task)
    on_cpu = choose_device(task.config.run.device).type == "cpu"
    limit = torch.get_num_threads()
    threads, best, end = 1 if on_cpu else limit, 0.0, float("inf")

    def is_better(trial: Mapping[str, str], number: int) -> bool:
        nonlocal settings, threads, best
        torch.set_num_threads(number)
        if time.monotonic() > end:
            return False
        rate = measure_speed(make_task(trial), batch, end, best)
        say(f"  {describe(trial, number)}: {rate:,.0f} samples/s")
        if rate <= best * BETTER:
            return False
        settings, threads, best = dict(trial), number, rate
        return True

    is_better(settings, threads)
    end = time.monotonic() + seconds  # the first steps of a process take seconds, whatever the settings
    is_better(settings | {"train.precision": "bf16"}, threads)
    while threads < limit and is_better(settings, min(threads * 2, limit)):
        pass
    is_better(settings | {"train.channels_last": "false"}, threads)
    torch.set_num_threads(threads)
    return Speed(settings, threads, best, loading)


def describe(settings: Mapping[str, str], threads: int) -> str:
    """Return settings of a training in words."""
    order = "channels last" if settings["train.channels_last"] == "true" else "channels first"
    return f"{settings['train.precision']}, {order}, {threads} {'thread' if threads == 1 else 'threads'}"


def load_batch(task: Task) -> tuple[Batch, float]:
    """Return the first batch of a task's training set, on its device, and the seconds for loading a sample."""
    data = task.training_set()
    keys = [(0, number % len(data)) for number in range(samples_per_step(task.config, 1))]
    before = time.perf_counter()
    samples = next(iter(DataLoader(data, batch_sampler=[keys], collate_fn=data.collate)))
    batch = data.to_device(samples, choose_device(task.config.run.device))
    return batch, (time.perf_counter() - before) / len(batch)


def measure_speed(task: Task, batch: Batch, end: float, best: float = 0.0) -> float:
    """Return the samples that a task trains in a second, without loading.

    Steps are repeated on one batch, for about `MIN_SECONDS` or as long as two steps take; after the time ``end``, one.
    If the first step is far slower than ``best``, it is the only one.
    """
    settings, device = task.config.train, choose_device(task.config.run.device)
    seed_everything(task.config.run.seed, 0)
    networks = {name: network.to(device).train() for name, network in task.networks().items()}
    if settings.channels_last:
        networks = {name: network.to(memory_format=torch.channels_last) for name, network in networks.items()}
    optimizers = {
        name: build_optimizer(network, task.train_settings(name), device) for name, network in networks.items()
    }
    updater, objective = Updater(networks, optimizers, settings), task.objective(device)

    def steps() -> Iterator[int]:
        done = 0
        while True:
            with updater.micro_batch(0), autocast(device, dtype_of(settings.precision)):
                objective.step(networks, batch, updater)
            done += 1
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            yield done

    stepping, start = steps(), time.perf_counter()
    warm_up = 1
    for warm_up in stepping:
        passed = time.perf_counter() - start
        if best and passed > max(2 * MIN_SECONDS, HOPELESS * len(batch) / best):
            return len(batch) / passed
        if warm_up == WARM_UP or passed > MIN_SECONDS:
            break
    start = time.perf_counter()
    for number in stepping:
        done, passed = number - warm_up, time.perf_counter() - start
        if passed >= MIN_SECONDS * (1 if done >= MIN_STEPS else 2) or time.monotonic() > end:
            return done * len(batch) / passed
    raise AssertionError("the steps never end")


def remaining_share(checkpoint: Path) -> float:
    """Return the share of a run's steps that are not done yet, given its last.pt; 1 if there is none."""
    if not checkpoint.exists():
        return 1.0
    content = read_checkpoint(checkpoint)
    return 1 - content["step"] / max(content["progress"]["total_steps"], 1)


class Pace:
    """Changes the number of steps of a training so that it ends in time, whatever else the machine has to do."""

    def __init__(self, seconds: float, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock of a training that should take ``seconds`` from now."""
        self.say = say
        self.clock = clock
        self.seconds = seconds
        self.end = clock() + seconds
        self.marks: deque[tuple[float, int]] = deque()

    def __call__(self, step: int, total_steps: int) -> int:
        """Return the number of steps, given those done and those planned: the same if the end is near enough in time.

        The end is predicted from the speed over the last `WINDOW` seconds. If that speed is a fraction of the planned
        one, the number of threads is halved first.
        """
        now = self.clock()
        self.marks.append((now, step))
        while len(self.marks) > 2 and now - self.marks[1][0] >= WINDOW:
            self.marks.popleft()
        (since, first), left = self.marks[0], self.end - now
        if now - since < min(WINDOW, self.seconds * TOLERANCE) or step == first or step >= total_steps:
            return total_steps
        needed = (total_steps - step) * (now - since) / (step - first)
        if abs(needed - left) <= TOLERANCE * self.seconds:
            return total_steps
        if needed > COLLAPSE * left and torch.get_num_threads() > 1:
            # Threads that wait for each other lose far more than their share of cores that other programs use.
            torch.set_num_threads(torch.get_num_threads() // 2)
            self.say(f"step {step}: other programs use the cores; trying with {torch.get_num_threads()} of them")
            self.marks.clear()
            return total_steps
        return step + max(round((total_steps - step) * left / needed), 1)
