"""What becomes of a training when something goes wrong: train, do harm, resume, compare.

    python -m pose_testing.faults --methods lite dekr --faults SIGTERM "full disk" --out table.md

Every cell of the table trains a tiny network with the command line of its method, in processes that are forked from
this one so that PyTorch is imported once. "equal" means that the last checkpoint of the harmed and resumed training
(networks, average, optimizers, random states, step) has the bits of one that was left alone. Linux only; what needs a
mount is skipped where mounting is not allowed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import torch

from pose_core.cli import method_main
from pose_core.synthetic import write_dataset

SMALL = 'model.options={"channels": 16, "depth": 2'
VARIANTS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "lite": ("lite", "synthetic_quick", "coco", ("model.name=lpn_18", "model.init=framework")),
    "mrpose": ("mrpose", "synthetic_coco", "coco", ("model.options.width=8",)),
    "dekr": (
        "dekr",
        "synthetic_dekr",
        "crowdpose",
        ('model.options={"width": 16, "blocks": 1, "modules": [1, 1, 1]}',),
    ),
    "hgpose": ("advpose", "synthetic_hgpose", "mpii", (SMALL + "}",)),
    "hgpose-ae": ("advpose", "synthetic_hgpose_ae", "coco", (SMALL + ', "increase": 8, "outputs": 34}',)),
    "advpose": (
        "advpose",
        "synthetic_advpose",
        "mpii",
        (SMALL + "}", "adversarial.channels=8", "adversarial.depth=1"),
    ),
    "advpose-ae": (
        "advpose",
        "synthetic_advpose_ae",
        "coco",
        (SMALL + ', "increase": 8, "outputs": 34}', "adversarial.channels=8", "adversarial.depth=1"),
    ),
    "asda": (
        "asda",
        "synthetic_adversarial",
        "mpii",
        ("model.name=asda_hourglass_2", SMALL + "}", "parts.counts=[1, 2]", "generator.width=8"),
    ),
}
"""Variant → method, experiment, data set, and settings that make its network small."""
COMMON = (
    "model.input_size=[64, 64]", "train.epochs=4", "train.milestones=[1]", "train.batch_size=4", "train.workers=0",
    "train.log_every=1", "train.ema=0.9", "train.validate_every=2", "test.workers=0", "run.device=cpu",
)  # fmt: skip
ONE_PLAYER = {"lite", "mrpose", "dekr", "hgpose", "hgpose-ae"}
"""Variants that may split a batch into several passes."""
PATIENCE = 180.0


class Skipped(Exception):
    """A fault that cannot be brought about here; the text says why."""


@dataclass
class Outcome:
    """How a fault ended: exit code, steps that must be trained again, whether the bits are equal, messages."""

    code: int
    lost: int | None = None
    equal: bool | None = None
    messages: list[str] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        parts = [f"exit {self.code}", f"lost {self.lost}" if self.lost is not None else ""]
        parts += [{True: "equal", False: "NOT EQUAL", None: ""}[self.equal], self.note]
        return ", ".join(part for part in parts if part)


class Training:
    """A started training: one process, or one for each rank."""

    def __init__(self, folder: Path, output: Path, processes: list[Any]) -> None:
        self.folder, self.output, self.processes = folder, output, processes

    def text(self) -> str:
        """Return what has been printed."""
        return self.output.read_text("utf-8", "replace")

    def step(self) -> int:
        """Return the last step in metrics.jsonl."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
            return max((json.loads(line)["step"] for line in lines), default=0)
        except (OSError, ValueError):
            return 0

    def until(self, condition: Callable[[], bool], pause: float = 0.005) -> bool:
        """Wait for a condition; return False if the training ended before."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if any(process.exitcode is not None for process in self.processes):
                return False
            if time.monotonic() > end:
                self.end()
                raise AssertionError(f"nothing happened in {PATIENCE:g} s:\n{self.text()}")
            time.sleep(pause)
        return True

    def signal(self, number: int, *, group: bool = False, rank: int = 0) -> None:
        """Send a signal to a process, or to its group with its loaders."""
        (os.killpg if group else os.kill)(self.processes[rank].pid, number)

    def children(self) -> list[int]:
        """Return the processes of the first process, in the order of their start."""
        pid = self.processes[0].pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code of the first process once all have ended."""
        for process in self.processes:
            process.join(seconds)
            if process.exitcode is None:
                self.end()
                raise AssertionError(f"no end in {seconds:g} s:\n{self.text()}")
        return int(self.processes[0].exitcode)

    def end(self) -> None:
        """Kill all processes."""
        for process in self.processes:
            if process.exitcode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.join()


class Bench:
    """A variant's data and runs, in a folder."""

    def __init__(self, variant: str, folder: Path) -> None:
        self.variant, self.folder = variant, folder
        self.method, self.experiment, data, self.settings = VARIANTS[variant]
        self.data = folder / "data"
        self.runs = folder / "runs"
        if not self.data.exists():
            _in_a_fork(partial(_write_data, self.data, data))
        # A training imports for five times as long as it trains here: what it needs is imported once.
        words = self.words(self.runs / "first", "train.iterations=1")
        _in_a_fork(partial(_list_modules, self.method, words, folder / "modules.json"))
        for name in json.loads((folder / "modules.json").read_text()):
            with suppress(ImportError):
                import_module(name)
        self._whole = cache(self._train_whole)
        self.numbers = count()
        self.seconds = 0.0

    def words(self, folder: Path, *more: str) -> list[str]:
        """Return the command line of a training into a folder."""
        parts = [f"parts.annotations={self.data / 'parts/part_anns.json'}"] if self.method == "asda" else []
        place = [f"data.root={self.data}", f"run.dir={folder.parent}", f"run.name={folder.name}"]
        return ["train", "--cfg", self.experiment, *COMMON, *self.settings, *parts, *place, *more]

    def new(self) -> Path:
        """Return the path of a run folder that does not exist yet."""
        return self.runs / f"run-{next(self.numbers)}"

    def start(
        self, folder: Path, *more: str, processes: int = 1, prepare: Callable[[], object] | None = None
    ) -> Training:
        """Start a training; ``prepare`` is called in its process before."""
        output = self.folder / "outputs" / f"{folder.name}-{next(self.numbers)}.txt"
        output.parent.mkdir(exist_ok=True)
        output.touch()
        port = _free_port()
        context = multiprocessing.get_context("fork")
        started = []
        for rank in range(processes):
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            environment = {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
            process = context.Process(
                target=_train,
                args=(self.method, self.words(folder, *more), output, environment if processes > 1 else {}, prepare),
            )
            process.start()
            started.append(process)
        return Training(folder, output, started)

    def train(self, folder: Path, *more: str, processes: int = 1) -> Training:
        """Run a training to its end, which must be a good one."""
        training = self.start(folder, *more, processes=processes)
        code = training.wait()
        assert code == 0, f"exit {code}:\n{training.text()}"
        return training

    def whole(self, *more: str, processes: int = 1) -> dict[str, Any]:
        """Return the last checkpoint of a training that is left alone, without loaders and checkpoints in between."""
        free = ("train.workers=", "train.checkpoint_every=", "train.evaluate_on=")
        return self._whole(*(word for word in more if not word.startswith(free)), processes=processes)

    def _train_whole(self, *more: str, processes: int) -> dict[str, Any]:
        before = time.monotonic()
        folder = self.train(self.new(), *more, processes=processes).folder
        self.seconds = self.seconds or time.monotonic() - before
        return checkpoint(folder)

    def equals_whole(self, folder: Path, *more: str, processes: int = 1) -> bool:
        """Return whether a run has ended with the state of one that was left alone; print what differs."""
        differing = differences(self.whole(*more, processes=processes), checkpoint(folder))
        if differing:
            print(f"{self.variant} {folder.name}: {', '.join(differing[:5])} differ", file=sys.stderr)
        return not differing

    def partial(self, *more: str) -> Path:
        """Return the folder of a run that was stopped at its fifth step or later, with a checkpoint at each step."""
        source = self.runs / "partial"
        if not source.exists():
            training = self.start(source, "train.checkpoint_every=1")
            assert training.until(lambda: training.step() >= 5)
            training.signal(signal.SIGTERM)
            assert training.wait() == 130, training.text()
        folder = self.new()
        shutil.copytree(source, folder)
        return folder

    def resumed(self, harmed: Training, *more: str, processes: int = 1, how: str = "--resume") -> Outcome:
        """Resume a training that has ended, and return what was lost and whether the end is the same."""
        code, done = harmed.wait(), harmed.step()
        found = checkpoint(harmed.folder)["step"] if (harmed.folder / "last.pt").exists() else 0
        again = self.train(harmed.folder, how, *more, processes=processes)
        return Outcome(
            code,
            max(done - found, 0),
            self.equals_whole(harmed.folder, *more, processes=processes),
            messages(harmed) + messages(again),
        )


def _train(method: str, words: list[str], output: Path, environment: dict[str, str], prepare: Any) -> None:
    """Become a training: a process of its own group, with its output in a file."""
    os.setsid()
    torch.set_num_threads(1)  # threads do not survive a fork
    with output.open("ab", buffering=0) as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(environment)
    if prepare is not None:
        prepare()
    raise SystemExit(method_main(method, words))


def _list_modules(method: str, words: list[str], target: Path) -> None:
    """Train, and write the names of the modules that were imported meanwhile, in their order."""
    before = set(sys.modules)
    with target.with_suffix(".txt").open("w") as output, redirect_stdout(output):
        assert method_main(method, words) == 0
    target.write_text(json.dumps([name for name in sys.modules if name not in before and name != "__mp_main__"]))


def _in_a_fork(work: Callable[[], object]) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def _write_data(folder: Path, layout: str) -> None:
    people, size = {"coco": ((1, 2), (80, 64)), "mpii": ((1, 1), (96, 96)), "crowdpose": ((2, 2), (64, 64))}[layout]
    write_dataset(folder, layout=layout, images=12, val_images=3, people=people, size=size, seed=2)
    if layout == "mpii":
        from pose_asda.build_parts import synthetic_people, write_pool

        write_pool(synthetic_people(folder / "scratch", 3, 1), folder / "parts", 60, 0.8)


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def checkpoint(folder: Path) -> dict[str, Any]:
    """Return the content of a run's last.pt."""
    return dict(torch.load(folder / "last.pt", weights_only=True))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return the places at which two checkpoints differ, all but the names of their folders."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return [path or "keys"]
        keys = [key for key in one if path or key not in {"config", "directory", "data_root"}]
        return [place for key in keys for place in differences(one[key], other[key], f"{path}.{key}".strip("."))]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return [place for number, pair in enumerate(pairs) for place in differences(*pair, f"{path}.{number}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [path]


SAID = re.compile(
    r"(error|warning|stopped|interrupted|Traceback|no exact|weights file|nothing to|This is a bug|cannot write|the run "
    r"that was)|.*(Exception|Error\b|[Ww]arning:)"
)


def messages(training: Training) -> list[str]:
    """Return what a training said to its user about the fault."""
    return [line for line in training.text().replace("\r", "\n").splitlines() if SAID.match(line)]


# The faults. Each returns its outcome, or raises AssertionError if the training does not behave.


def signaled(
    bench: Bench, number: int, *more: str, group: bool = False, twice: bool = False, code: int = 130
) -> Outcome:
    """A signal in the middle of an epoch, with no checkpoint but those at the ends of epochs."""
    training = bench.start(bench.new(), *more)
    assert training.until(lambda: training.step() >= 5), training.text()
    training.signal(number, group=group)
    if twice:
        time.sleep(0.02)
        if training.processes[0].exitcode is None:
            training.signal(number, group=group)
    outcome = bench.resumed(training, *more)
    assert outcome.code == code, training.text()
    assert twice or outcome.lost == 0, training.text()
    return outcome


def killed(bench: Bench, times: int = 20) -> Outcome:
    """SIGKILL: half of the times at a random moment, a quarter in a save, a quarter in an evaluation."""
    rng, more = random.Random(bench.variant), "train.checkpoint_every=2"
    bench.whole(more)
    folder, kills, lost, runs, unfinished = bench.new(), 0, 0, 1, 0
    inside = {"save": 0, "evaluation": 0, "elsewhere": 0}
    while kills < times:
        training = bench.start(folder, more, "--resume=auto")
        alive = _until_moment(training, ("random", "save", "random", "evaluation")[kills % 4], rng, bench.seconds)
        if not alive:  # it ended before
            assert training.wait() == 0, training.text()
            assert bench.equals_whole(folder, more), folder
            folder, runs, unfinished = bench.new(), runs + 1, unfinished + 1
            assert unfinished < 3 * times, "the trainings end before they can be killed"
            continue
        training.signal(signal.SIGKILL, group=True)
        training.wait()
        kills += 1
        where = "save" if _is_saving(folder) else "evaluation" if _in_evaluation(training) else "elsewhere"
        inside[where] += 1
        if (folder / "last.pt").exists():
            lost = max(lost, training.step() - checkpoint(folder)["step"])
    bench.train(folder, more, "--resume=auto")
    left = [path.name for path in folder.glob(".*.pt.*")]
    assert not left, left
    note = f"{kills} kills ({inside['save']} in a save, {inside['evaluation']} in an evaluation), {runs} runs"
    return Outcome(-9, lost, bench.equals_whole(folder, more), note=note)


def _until_moment(training: Training, kind: str, rng: random.Random, seconds: float) -> bool:
    """Wait for the moment of a kill; return False if the training ended before."""
    if kind == "random":
        end = time.monotonic() + rng.uniform(0, seconds)
        return training.until(lambda: time.monotonic() > end)
    if kind == "save":
        first = training.step()
        return training.until(lambda: _is_saving(training.folder) and training.step() > first, 0)
    alive = training.until(lambda: _in_evaluation(training), 0.002)
    time.sleep(rng.uniform(0, 0.1) if alive else 0)
    return alive


def _is_saving(folder: Path) -> bool:
    return any(folder.glob(".*.pt.*"))


def _in_evaluation(training: Training) -> bool:
    """Return whether an epoch that is evaluated has ended, and its evaluation has not."""
    try:
        rows = [json.loads(line) for line in (training.folder / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        return False
    if not rows or rows[-1]["split"] == "val" or _is_saving(training.folder):
        return False
    following = [row for row in rows if row["step"] == rows[-1]["step"]]
    found = checkpoint_or_none(training.folder)
    return bool(found and found["due"] and found["step"] == following[-1]["step"])


def checkpoint_or_none(folder: Path) -> dict[str, Any] | None:
    """Return the content of last.pt, unless it is just being replaced."""
    try:
        return checkpoint(folder)
    except (OSError, RuntimeError, EOFError):
        return None


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder."""
    if not folder.exists():
        folder.mkdir(parents=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"mounting is not allowed here ({done.stderr.strip() or done.returncode})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; return the file that does it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def full_disk(bench: Bench, *, for_good: bool) -> Outcome:
    """A disk that is full when checkpoints are written, for good or for a moment."""
    bench.whole("train.checkpoint_every=2")
    disk = bench.folder / f"disk-{next(bench.numbers)}"
    size = 8 * (bench.runs / "run-0/last.pt").stat().st_size
    with mounted(disk, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        training = bench.start(disk / "run", "train.checkpoint_every=2")
        assert training.until(lambda: training.step() >= 5), training.text()
        filler = fill(disk)
        if not for_good:
            assert training.until(lambda: "trying again" in training.text()), training.text()
            filler.unlink()
            code = training.wait()
            assert code == 0, training.text()
            equal = bench.equals_whole(training.folder, "train.checkpoint_every=2")
            return Outcome(code, 0, equal, messages(training))
        code = training.wait()
        assert code == 1, training.text()
        assert re.search(r"error: cannot write .*last\.pt: No space left .*--resume", training.text()), training.text()
        filler.unlink()
        return bench.resumed(training, "train.checkpoint_every=2")


@contextmanager
def read_only_at(*places: Path) -> Iterator[None]:
    """Make files or folders read-only for a while, by mounting them onto themselves."""
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(mounted(place, "--bind", str(place)))
            subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield


def refused_logs(bench: Bench) -> Outcome:
    """log.txt, metrics.jsonl and TensorBoard's events cannot be written for a while, but checkpoints can."""
    training = bench.start(bench.new())
    assert training.until(lambda: training.step() >= 5), training.text()
    training.signal(signal.SIGSTOP)
    with read_only_at(*(training.folder / name for name in ("log.txt", "metrics.jsonl", "tensorboard"))):
        training.signal(signal.SIGCONT)
        refused = training.until(lambda: "warning: cannot write" in training.text())
    assert refused, training.text()
    code = training.wait()
    assert code == 0, training.text()
    assert training.text().count("warning: cannot write") == 1, training.text()
    return Outcome(code, 0, bench.equals_whole(training.folder), messages(training))


def read_only(bench: Bench) -> Outcome:
    """A run folder that cannot be written any more: at a start, and in the middle of a run."""
    place = bench.folder / f"locked-{next(bench.numbers)}"
    with mounted(place, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        refused = bench.start(place / "run")
        code = refused.wait()
        assert code == 2, refused.text()
        assert "Read-only file system; choose another with run.dir" in refused.text(), refused.text()
    training = bench.start(bench.new(), "train.checkpoint_every=2")
    assert training.until(lambda: training.step() >= 5), training.text()
    with read_only_at(training.folder):
        assert training.wait() == 1, training.text()
        assert re.search(r"error: cannot write .*last\.pt: Read-only.*--resume", training.text()), training.text()
    outcome = bench.resumed(training, "train.checkpoint_every=2")
    outcome.messages = messages(refused) + outcome.messages
    return outcome


def folder_deleted(bench: Bench, *more: str) -> Outcome:
    """The run folder is deleted while the run goes on."""
    training = bench.start(bench.new(), "train.checkpoint_every=2", *more)
    assert training.until(lambda: training.step() >= 5), training.text()
    training.signal(signal.SIGSTOP)
    shutil.rmtree(training.folder)
    training.signal(signal.SIGCONT)
    code = training.wait()
    assert code == 0, training.text()
    assert "was deleted or moved during the training" in training.text(), training.text()
    missing = {"config.yaml", "log.txt", "metrics.jsonl", "last.pt", "best.pt", "results", "tensorboard"}
    missing -= {path.name for path in training.folder.iterdir()}
    assert not missing, missing
    return Outcome(code, 0, bench.equals_whole(training.folder, "train.checkpoint_every=2"), messages(training))


def data_gone(bench: Bench, *, for_good: bool) -> Outcome:
    """The folder of the data disappears, for good or for a moment."""
    training = bench.start(bench.new(), "train.checkpoint_every=2")
    assert training.until(lambda: training.step() >= 5), training.text()
    away = bench.data.rename(bench.folder / "away")
    try:
        if for_good:
            code = training.wait()
            assert code == 3, training.text()
        else:
            time.sleep(0.3)
    finally:
        away.rename(bench.data)
    if not for_good and training.wait() == 0:
        return Outcome(0, 0, bench.equals_whole(training.folder, "train.checkpoint_every=2"), messages(training))
    return bench.resumed(training, "train.checkpoint_every=2")


def worker_killed(bench: Bench) -> Outcome:
    """A loader process is killed, as by the kernel for lack of memory."""
    more = ("train.workers=2", "train.checkpoint_every=2")
    training = bench.start(bench.new(), *more)
    assert training.until(lambda: training.step() >= 5), training.text()
    training.signal(signal.SIGSTOP)
    os.kill(training.children()[0], signal.SIGKILL)
    training.signal(signal.SIGCONT)
    code = training.wait()
    assert code == 3, training.text()
    assert "a loader process was killed" in training.text(), training.text()
    return bench.resumed(training, *more)


def evaluator_killed(bench: Bench) -> Outcome:
    """The process is killed that evaluates while training goes on."""
    more = ("train.evaluate_on=cpu", "train.checkpoint_every=2", "train.epochs=12")
    training = bench.start(bench.new(), *more)
    assert training.until(lambda: len(training.children()) > 1), training.text()  # multiprocessing has one of its own
    training.signal(signal.SIGSTOP)
    os.kill(training.children()[-1], signal.SIGKILL)
    training.signal(signal.SIGCONT)
    code = training.wait()
    assert code == 1, training.text()
    assert "the process that evaluates" in training.text(), training.text()
    return bench.resumed(training, *more)


def rank_killed(bench: Bench) -> Outcome:
    """One of two processes is killed."""
    more = ("train.checkpoint_every=2",)
    training = bench.start(bench.new(), *more, processes=2)
    assert training.until(lambda: training.step() >= 3), training.text()
    training.signal(signal.SIGKILL, rank=1)
    code = training.wait()
    assert code == 1, training.text()
    assert "another process of this job has failed" in training.text(), training.text()
    return bench.resumed(training, *more, processes=2)


def max_restarts(bench: Bench) -> Outcome:
    """A process that torchrun started is killed, and torchrun starts all of them again."""
    more = ("train.checkpoint_every=2",)
    bench.whole(*more, processes=2)
    folder = bench.new()
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=2"]
    words = [sys.executable, *launch, "-m", f"pose_{bench.method}", *bench.words(folder, *more)]
    output = bench.folder / "outputs/torchrun.txt"
    with output.open("w") as file:
        launcher = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    training = Training(folder, output, [])
    end = time.monotonic() + PATIENCE
    while training.step() < 3 and launcher.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    ranks = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(ranks[-1]), signal.SIGKILL)
    code = launcher.wait(PATIENCE)
    assert code == 0, training.text()
    return Outcome(code, 0, bench.equals_whole(folder, *more, processes=2))


def two_starts(bench: Bench) -> Outcome:
    """A second training is started into the folder of a running one."""
    first = bench.start(bench.new())
    assert first.until(lambda: first.step() >= 1), first.text()
    first.signal(signal.SIGSTOP)
    second = bench.start(first.folder, "--resume=auto")
    code = second.wait()
    first.signal(signal.SIGCONT)
    assert code == 2, second.text()
    assert "is in use by process" in second.text(), second.text()
    assert first.wait() == 0, first.text()
    return Outcome(code, 0, bench.equals_whole(first.folder), messages(second), "the first: exit 0")


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """Cut off the last kilobyte of a file."""
    os.truncate(path, path.stat().st_size - 1000)


def damaged(bench: Bench, harm: Callable[[Path], None]) -> Outcome:
    """last.pt is damaged: --resume names it, --resume=auto takes the one before."""
    folder, more = bench.partial(), "train.checkpoint_every=1"
    done = checkpoint(folder)["step"]
    harm(folder / "last.pt")
    refused = bench.start(folder, more, "--resume")
    assert refused.wait() == 1, refused.text()
    assert re.search(r"last\.pt is damaged.*use --resume=auto", refused.text()), refused.text()
    before = int(torch.load(folder / "last-1.pt", weights_only=True)["step"])
    training = bench.train(folder, more, "--resume=auto")
    equal = bench.equals_whole(folder, more)
    return Outcome(1, done - before, equal, messages(refused) + messages(training), "auto: exit 0")


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(bench: Bench, code: int, pattern: str, *more: str, harm: Callable[[Path], object] | None = None) -> Outcome:
    """A command that is refused, and changes nothing."""
    folder = bench.partial()
    if harm is not None:
        harm(folder)
    before = content(folder)
    training = bench.start(folder, "train.checkpoint_every=1", *more)
    assert training.wait() == code, training.text()
    assert re.search(pattern, training.text()), training.text()
    assert content(folder) == before
    return Outcome(code, 0, None, messages(training))


def tolerated(bench: Bench, harm: Callable[[Path], object], pattern: str = "") -> Outcome:
    """Damage to a stopped run that costs nothing when it is resumed."""
    folder, more = bench.partial(), "train.checkpoint_every=1"
    harm(folder)
    training = bench.train(folder, more, "--resume")
    assert re.search(pattern, training.text()), training.text()
    return Outcome(0, 0, bench.equals_whole(folder, more), messages(training))


def log_is_a_folder(folder: Path) -> None:
    """Put a folder in the place of log.txt."""
    (folder / "log.txt").unlink()
    (folder / "log.txt").mkdir()


def best_refused(bench: Bench) -> Outcome:
    """best.pt cannot be written, since there is a folder of that name."""
    folder, more = bench.partial(), "train.checkpoint_every=1"
    (folder / "best.pt").unlink(missing_ok=True)
    (folder / "best.pt").mkdir()
    last = torch.load(folder / "last.pt", weights_only=True)
    assert last["step"] > 0
    training = bench.start(folder, more, "--resume")
    if training.wait() == 0:  # no later evaluation was better
        (folder / "best.pt").rmdir()
        return Outcome(0, 0, bench.equals_whole(folder, more), messages(training), "best.pt was not written again")
    assert re.search(r"error: cannot write .*best\.pt: Is a directory.*--resume", training.text()), training.text()
    (folder / "best.pt").rmdir()
    return bench.resumed(training, more)


def forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints, but keep what shows that there was a run."""
    for path in folder.glob("last*.pt"):
        path.unlink()


def only_one_and_damaged(folder: Path) -> None:
    """Leave a single checkpoint, with a flipped bit, as with train.keep=1."""
    for path in folder.glob("last-*.pt"):
        path.unlink()
    flip(folder / "last.pt")


def of_another_method(folder: Path) -> None:
    """Give last.pt the method and network of another."""
    found = checkpoint(folder)
    found["method"] = "another"
    found["config"] = re.sub(r"(?m)^method: .*$", "method: another", found["config"])
    torch.save(found, folder / "last.pt")


def in_the_future(folder: Path) -> None:
    """Date all files ten years ahead."""
    later = time.time() + 10 * 365 * 86400
    for path in folder.rglob("*"):
        os.utime(path, (later, later))


def closed_stdout(bench: Bench) -> Outcome:
    """The reader of the output goes away after the first line, as ``head -1`` does."""
    read, write = os.pipe()

    def into_the_pipe() -> None:
        os.dup2(write, 1)
        os.close(read)
        os.close(write)

    training = bench.start(bench.new(), prepare=into_the_pipe)
    os.close(write)
    os.read(read, 10)
    os.close(read)
    code = training.wait()
    assert code == 0, training.text()
    return Outcome(code, 0, bench.equals_whole(training.folder), messages(training))


def exact(bench: Bench, *more: str, processes: int = 1) -> Outcome:
    """Killed in the middle and resumed; compared to a training without loaders."""
    if "train.accumulate=2" in more and bench.variant not in ONE_PLAYER:
        raise Skipped("the method has two players: no accumulation")
    training = bench.start(bench.new(), "train.checkpoint_every=3", *more, processes=processes)
    assert training.until(lambda: training.step() >= 5), training.text()
    for rank in range(processes):
        training.signal(signal.SIGKILL, group=True, rank=rank)
    return bench.resumed(training, "train.checkpoint_every=3", *more, processes=processes)


TWO = "train.workers=2"
FAULTS: Mapping[str, Callable[[Bench], Outcome]] = {
    "SIGKILL × 20": killed,
    "SIGTERM": partial(signaled, number=signal.SIGTERM),
    "SIGTERM to the group, 2 loaders": lambda bench: signaled(bench, signal.SIGTERM, TWO, group=True),
    "SIGINT": partial(signaled, number=signal.SIGINT),
    "SIGINT to the group, 2 loaders": lambda bench: signaled(bench, signal.SIGINT, TWO, group=True),
    "SIGINT twice": partial(signaled, number=signal.SIGINT, twice=True),
    "SIGHUP": partial(signaled, number=signal.SIGHUP),
    "SIGUSR1": partial(signaled, number=signal.SIGUSR1),
    "full disk": partial(full_disk, for_good=True),
    "full disk for a moment": partial(full_disk, for_good=False),
    "logs refused": refused_logs,
    "read-only": read_only,
    "run folder deleted": folder_deleted,
    "run folder deleted, evaluated elsewhere": lambda bench: folder_deleted(bench, "train.evaluate_on=cpu"),
    "evaluating process killed": evaluator_killed,
    "data gone": partial(data_gone, for_good=True),
    "data gone and back": partial(data_gone, for_good=False),
    "loader killed": worker_killed,
    "rank killed": rank_killed,
    "torchrun restarts": max_restarts,
    "two starts": two_starts,
    "last.pt with a flipped bit": partial(damaged, harm=flip),
    "last.pt truncated": partial(damaged, harm=truncate),
    "the only last.pt with a flipped bit": lambda bench: refused(
        bench, 1, r"last\.pt is damaged.*no checkpoint before it", "--resume=auto", harm=only_one_and_damaged
    ),
    "--resume without last.pt": lambda bench: refused(
        bench, 2, r"holds .*but no last\.pt to continue from", "--resume", harm=forget_checkpoints
    ),
    "--overwrite with a typo": lambda bench: refused(bench, 3, "error: .*typo", "--overwrite", "data.root=typo"),
    "last.pt of another method": lambda bench: refused(
        bench, 2, "was trained with other settings", "--resume", harm=of_another_method
    ),
    "stdout closed": closed_stdout,
    "metrics.jsonl damaged": lambda bench: tolerated(
        bench, lambda folder: (folder / "metrics.jsonl").write_bytes(b'{"split": "tr\xff\xfe\n\0\n[3]\n')
    ),
    "config.yaml damaged": lambda bench: tolerated(
        bench, lambda folder: (folder / "config.yaml").write_bytes(b"{\xff")
    ),
    "log.txt is a folder": lambda bench: tolerated(
        bench, log_is_a_folder, r"warning: cannot write .*log\.txt: Is a directory"
    ),
    "best.pt refused": best_refused,
    "lock of another host": lambda bench: tolerated(
        bench, lambda folder: (folder / ".lock").write_bytes(b"process 1 on elsew\xffere")
    ),
    "files from the future": lambda bench: tolerated(bench, in_the_future),
    "exact": exact,
    "exact, 2 loaders": lambda bench: exact(bench, TWO),
    "exact, 2 loaders, 2 passes": lambda bench: exact(bench, TWO, "train.accumulate=2"),
    "exact, bf16": lambda bench: exact(bench, "train.precision=bf16"),
    "exact, bf16, 2 loaders, 2 passes": lambda bench: exact(bench, "train.precision=bf16", TWO, "train.accumulate=2"),
    "exact, 2 processes": lambda bench: exact(bench, processes=2),
    "exact, 2 processes, 2 loaders": lambda bench: exact(bench, TWO, processes=2),
    "exact, 2 processes, bf16": lambda bench: exact(bench, "train.precision=bf16", processes=2),
}  # fmt: skip


def run_table(variant: str, faults: Sequence[str], folder: Path) -> dict[tuple[str, str], Outcome | str]:
    """Return the outcome of each fault for a variant, by both; a text says why there is none."""
    found: dict[tuple[str, str], Outcome | str] = {}
    bench = Bench(variant, folder / variant)
    for name in faults:
        before = time.monotonic()
        try:
            found[name, variant] = FAULTS[name](bench)
        except Skipped as reason:
            found[name, variant] = f"skipped: {reason}"
        except AssertionError as error:
            found[name, variant] = f"FAILED: {error}"
        print(f"{variant}: {name}: {found[name, variant]} ({time.monotonic() - before:.0f} s)", flush=True)
    return found


def is_good(outcome: Outcome | str) -> bool:
    """Return whether a cell is as it must be: skipped ones are."""
    return outcome.equal is not False if isinstance(outcome, Outcome) else outcome.startswith("skipped")


def as_markdown(found: Mapping[tuple[str, str], Outcome | str]) -> str:
    """Return the table, and what the user was told for each fault."""
    faults, variants = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    lines = [f"| fault | {' | '.join(variants)} |", f"|{'---|' * (len(variants) + 1)}"]
    for name in faults:
        cells = [str(found.get((name, variant), "not run")).partition("\n")[0] for variant in variants]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Messages:", ""]
    for name in faults:
        said: dict[str, None] = {}
        for variant in variants:
            outcome = found.get((name, variant))
            if isinstance(outcome, Outcome):
                said.update(dict.fromkeys(_without_names(line) for line in outcome.messages))
        lines += [f"- {name}", *(f"  - {line}" for line in said)]
    return "\n".join(lines) + "\n"


def _without_names(line: str) -> str:
    """Return a message without what differs between runs."""
    line = re.sub(r"/\S*/((?:partial|run|disk-\d+)(?:-\d+)?)", "RUN", line)
    return re.sub(r"\b(step|process|of step|from step) \d+", r"\1 N", line)


def main() -> int:
    """Run the table, and return 1 if a cell is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--list", action="store_true", help="print the names of the faults")
    parser.add_argument("--out", type=Path, help="write the table and the messages to this Markdown file")
    args = parser.parse_args()
    if args.list:
        print("\n".join(FAULTS))
        return 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        found: dict[tuple[str, str], Outcome | str] = {}
        for variant in args.methods:
            found |= run_table(variant, args.faults, Path(folder))
            if args.out:
                args.out.write_text(as_markdown(found))
    return 0 if all(map(is_good, found.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
