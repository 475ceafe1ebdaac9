"""Benchmark the training loop's own cost: all of a step but forward, backward, optimizer and the decoding of images.

    python shared/benchmark/bench_loop.py [--rounds 31] [--out results.json] [--before CHECKOUT]

The loop trains a stand-in with as many tensors and modules as the real network, on data that are ready in memory, in
blocks of 20 steps with a log line each; in between, as many plain steps of forward, backward and optimizer are timed
and subtracted. The average's cost is that of its update alone. The share is the part of a real step, at batch 32 and
256x192 on one CPU core, that is neither forward, backward nor optimizer: collating, normalizing, targets and loss are
the loop's.
``--before`` measures the stand-ins with the sources of another checkout of this repository, too. Times are processor
times of one thread; columns with ± show half of the range between the quartiles.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from baselines.average_by_tensor import AverageByTensor
from rows import arguments, print_table, write_rows
from stand_in import Outline, ReadyTask, StandIn, outline
from torch import Tensor, nn

from pose_core import timing
from pose_core.machine import processor

BLOCK, EMA = 20, 0.9999
BARS = {"lpn_18": "≤ 3 % of a step", "hrnet_w32": "≤ 1 ms, EMA ≤ 1 ms"}


def loop_seconds(shape: Outline, folder: Path, rounds: int, ema: float, block: int = BLOCK) -> list[float]:
    """Measure the seconds per step, in each of ``rounds`` blocks, that the loop adds to a stand-in's training."""
    from pose_core.engine.trainer import train

    task = ReadyTask(make_config(folder, block * (rounds + 2) + 1, ema), shape, block, make_evaluation())
    with contextlib.redirect_stdout(io.StringIO()):
        train(task)  # type: ignore[arg-type]
    return task.timed.own_cost()


def make_config(folder: Path, iterations: int, ema: float) -> Any:
    """Return an experiment of ``iterations`` steps at batch 32."""
    content = {
        "method": "lite",
        "name": f"loop_{ema}",
        "model": {"name": "stand_in"},
        "train": {
            "iterations": iterations,
            "batch_size": 32,
            "workers": 0,
            "ema": ema,
            "validate_every": 0,
            "log_every": BLOCK,
        },
        "run": {"dir": str(folder), "device": "cpu"},
    }
    try:
        from pose_core.topdown.config import TopDownConfig
    except ImportError:  # an earlier version
        from pose_core.config import Config as TopDownConfig
    return TopDownConfig.model_validate(content)


def make_evaluation() -> Any:
    """Return the result of an evaluation."""
    try:
        from pose_core.engine.interfaces import Evaluation
    except ImportError:  # an earlier version
        from pose_core.engine.objective import Evaluation
    return Evaluation("AP", 0.0, {"AP": 0.0}, "")


def measure(shapes: Mapping[str, Outline], rounds: int) -> dict[str, list[list[float]]]:
    """Measure the loop's seconds per step for each network, without and with the average of the weights."""
    torch.set_num_threads(1)
    found = {}
    for name, shape in shapes.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = [loop_seconds(shape, Path(folder), rounds, ema) for ema in (0.0, EMA)]
    return found


def measure_in(checkout: Path, shapes: Mapping[str, Outline], rounds: int) -> dict[str, list[list[float]]]:
    """`measure` with the sources of another checkout."""
    sources = [str(folder) for folder in sorted(checkout.glob("packages/*/src"))]
    if not sources:
        raise SystemExit(f"error: {checkout} has no packages/*/src: give --before a checkout of this repository")
    done = subprocess.run(
        [sys.executable, __file__, "--rounds", str(rounds), "--child"],
        input=json.dumps(shapes),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return result


class Watched:
    """An objective that times the steps of another: all of a step, and forward, backward and optimizer alone."""

    def __init__(self, inner: Any, clock: Callable[[], float] = time.process_time) -> None:
        self.inner, self.clock = inner, clock
        self.whole: list[float] = []
        self.computing: list[float] = []
        self.started: float | None = None

    def step(self, networks: Mapping[str, nn.Module], batch: Any, update: Any) -> dict[str, Tensor]:
        """Take a step of the other objective."""
        now = self.clock()
        if self.started is not None:
            self.whole.append(now - self.started)
        self.started, seconds = now, 0.0

        def timed(run: Any) -> Any:
            def call(*args: Any) -> Any:
                nonlocal seconds
                before = self.clock()
                result = run(*args)
                seconds += self.clock() - before
                return result

            return call

        values: dict[str, Tensor] = self.inner.step(
            {name: timed(net) for name, net in networks.items()}, batch, timed(update)
        )
        self.computing.append(seconds)
        return values

    def shares(self) -> list[float]:
        """Return the part of each step after the first that is not forward, backward or optimizer."""
        return [1 - inner / whole for inner, whole in zip(self.computing[1:], self.whole[1:], strict=False)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class InMemory:
    """A training set whose samples have been made before, and come a thousand times in an epoch."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.samples = [inner[index] for index in range(len(inner))]

    def __len__(self) -> int:
        return 1000 * len(self.samples)  # each epoch ends with a checkpoint

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return self.samples[key[1] % len(self.samples)]

    def __getattr__(self, name: str) -> Any:
        if name == "__getitems__":  # the loader asks for samples one by one
            raise AttributeError(name)
        return getattr(self.inner, name)


def write_people(folder: Path) -> Path:
    """Write a small COCO data set and return its folder."""
    from pose_core.synthetic import write_dataset

    write_dataset(folder, layout="coco", images=24, val_images=2, people=(2, 3), size=(640, 480), seed=0)
    return folder


def real_steps(
    experiment: str, words: Sequence[str], steps: int, people: Path, clock: Callable[[], float] = time.process_time
) -> Watched:
    """Train a real network for ``steps`` steps and some to warm up, on samples in memory; return its times."""
    from pose_core.engine.trainer import train
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.tasks import build_task

    with tempfile.TemporaryDirectory() as folder:
        settings = [
            f"data.root={people}", f"run.dir={folder}", f"train.iterations={steps + 3}", "train.epochs=1000",
            "train.workers=0", "train.validate_every=0", "run.device=cpu", *words,
        ]  # fmt: skip
        task = build_task(load_config(experiment, settings))
        watched = Watched(task.objective(torch.device("cpu")), clock)
        data = InMemory(task.training_set())
        task.objective = lambda device: watched  # type: ignore[method-assign,assignment,return-value]
        task.training_set = lambda: data  # type: ignore[method-assign,assignment,return-value]
        task.evaluate = lambda *_: make_evaluation()  # type: ignore[method-assign]
        with contextlib.redirect_stdout(io.StringIO()):
            train(task)
    return watched


def spread(values: list[float], factor: float) -> str:
    """Return the median and half the range between the quartiles, times ``factor``."""
    low, _, high = quantiles(values, n=4)
    return f"{factor * median(values):.3g} ± {factor * (high - low) / 2:.1g}"


def rows(
    now: Mapping[str, list[list[float]]], before: Mapping[str, list[list[float]]], shapes: Mapping[str, Outline],
    rounds: int,
) -> list[dict[str, object]]:  # fmt: skip
    """Return the rows of the table."""
    from pose_core.engine.ema import Average

    found = []
    for name, shape in shapes.items():
        network = StandIn(shape)
        average = timing.compare(
            {"by tensor": AverageByTensor(network, EMA).update, "ours": Average(network, EMA).update},
            rounds,
            time.process_time,
        )
        row: dict[str, object] = {"network": name, "tensors": len(shape.parameters) + len(shape.buffers)}
        for label, values in (("before", before), ("now", now)):
            if name in values:
                plain, averaged = values[name]
                row |= {f"loop {label}, ms": spread(plain, 1e3), f"with EMA {label}, ms": spread(averaged, 1e3)}
        row |= {"EMA by tensor, ms": 1e3 * average.seconds("by tensor"), "EMA, ms": 1e3 * average.seconds("ours")}
        row |= {"of a real step": "-", "bar": BARS[name]}
        found.append(row)
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(rounds=31)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="folder of another checkout to compare with")
    parser.add_argument("--child", action="store_true", help="measure the outlines on stdin, and print JSON")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure({n: Outline(*shape) for n, shape in json.load(sys.stdin).items()}, args.rounds)))
        return
    from pose_core.plugins.networks import create_model

    shapes = {name: outline(create_model(name)) for name in BARS}
    before = measure_in(args.before, shapes, args.rounds) if args.before else {}
    table = rows(measure(shapes, args.rounds), before, shapes, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        words = ["model.name=lpn_18", "train.batch_size=32", f"train.ema={EMA}"]
        watched = real_steps("pose-lite/coco_lpn50_256x192", words, args.rounds, write_people(Path(folder)))
    table[0]["of a real step"] = f"{spread(watched.shares(), 100)} % of {1e3 * median(watched.whole):.0f} ms"
    where = f"{processor()}, PyTorch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f}"
    print(where)
    print_table(table)
    write_rows(table, args.out, where)


if __name__ == "__main__":
    main()
