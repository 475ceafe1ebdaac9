"""Measure everything that only a GPU can show, in parts, within ten minutes on one GPU.

    python shared/benchmark/on_a_gpu.py [--minutes 10] [--out FILE.json] [--only PART …]
    python shared/benchmark/on_a_gpu.py --device cpu --tiny       # every part's code at toy sizes, to test the script

Parts: every op's fast path against its reference (errors, time, bandwidth); training steps under PyTorch's check that
nothing waits for the device; five networks' training, plain and with the settings of --fast (rate with the data at
hand, rate with the loader, the loader's share of a step, host time, memory); the loader alone, with JPEGs decoded by
the CPU or by the GPU; evaluation; networks alone. Each part runs in a process of its own, so that a failed kernel or a
part that takes too long ends only itself; parts for which no time is left are named. `scaling.py` takes the figures of
training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import bench_kernels
import torch
from rows import print_table

from pose_core.benchmark.networks import measure_network, subjects
from pose_core.benchmark.timing import seconds_of, synchronizer
from pose_core.data.sampler import available_cores
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.presets import fast_settings
from pose_core.engine.run import Run
from pose_core.machine import processor
from pose_core.plugins.experiments import load_config
from pose_core.plugins.tasks import build_task
from pose_core.synthetic import write_dataset

Rows = Iterator[dict[str, object]]

TRAINED = {
    "lpn_50": ("pose-lite/coco_lpn50_256x192", 64),
    "hrnet_w32": ("pose-lite/coco_hrnet_w32_256x192", 64),
    "simplebaseline_resnet50": ("pose-lite/coco_resnet50_256x192", 64),
    "dekr_w32": ("pose-dekr/coco_dekr_w32_512", 8),
    "hourglass_2": ("pose-advpose/mpii_hgpose_stack2_256x256", 32),
}
"""Network → experiment, and samples in a step."""
TOYS = {
    "lpn_50": "pose-lite/synthetic_quick",
    "dekr_w32": "pose-dekr/synthetic_dekr",
    "hourglass_2": "pose-advpose/synthetic_hgpose",
}
"""The experiments of --tiny in place of these."""
STEPPED = (
    "pose-lite/synthetic_quick", "pose-mrpose/synthetic_mpii", "pose-dekr/synthetic_dekr",
    "pose-dekr/synthetic_bottomup", "pose-advpose/synthetic_hgpose", "pose-advpose/synthetic_advpose",
    "pose-advpose/synthetic_hgpose_ae", "pose-advpose/synthetic_advpose_ae", "pose-asda/synthetic_adversarial",
)  # fmt: skip
"""An experiment of each objective."""
EVALUATED = ("hrnet_w32", "lpn_50", "dekr_w32")
ERROR = 1e-3
"""The largest error of an op, relative to its largest value: in float32, with pixels to a part of a gray level."""


class Setting(NamedTuple):
    """Where a part measures: the device, toy sizes or not, and the folder of the data sets."""

    device: torch.device
    tiny: bool
    data: Path

    @property
    def seconds(self) -> float:
        """Return the time of each figure."""
        return 0.1 if self.tiny else 3.0

    @property
    def least(self) -> int:
        """Return the fewest repetitions of a figure."""
        return 1 if self.tiny else 3

    @property
    def prefetched(self) -> int:
        """Return the batches that the loader's processes hold ready."""
        return 4 * (1 if self.tiny else available_cores())

    def experiment(self, network: str) -> tuple[str, int]:
        """Return the experiment of a network, and the samples in a step."""
        return (TOYS[network], 2) if self.tiny else TRAINED[network]

    def run(self, experiment: str, *words: str) -> Run:
        """Return a training run that has not started."""
        config = load_config(experiment)
        root = self.data / config.data.layout
        places = [f"data.root={root}", "model.pretrained=null", "train.iterations=1000000", "train.epochs=1000000"]
        if experiment.startswith("pose-asda"):
            places.append(f"parts.annotations={self.data / 'parts' / 'part_anns.json'}")
        task = build_task(load_config(experiment, [*places, *words]))
        return Run(task, ProcessContext(0, 1, self.device), self.data / "unused")

    def words(self, batch: int) -> list[str]:
        """Return the settings of a measurement: the batch, every core a loader; toy images."""
        if self.tiny:
            return ["train.batch_size=2", "train.workers=1", "test.workers=1", "model.input_size=[64,64]"]
        cores = available_cores()
        return [f"train.batch_size={batch}", f"train.workers={cores}", f"test.workers={cores}"]


def write_data(folder: Path, *, tiny: bool) -> None:
    """Write a small data set of each layout, and a pool of parts."""
    from pose_asda.build_parts import synthetic_people, write_pool

    for layout in ("coco", "mpii", "crowdpose"):
        count, size = (8, (160, 120)) if tiny or layout == "crowdpose" else (160, (640, 480))
        write_dataset(
            folder / layout, layout=layout, images=count, val_images=count // 2, people=(2, 3), size=size, seed=3
        )  # type: ignore[arg-type]
    write_pool(synthetic_people(folder / "people", 3, 1), folder / "parts", 200, 0.8)


def kernels(setting: Setting) -> Rows:
    """Compare every op's fast path with its reference."""
    batch = 2 if setting.tiny else 256
    is_gpu = setting.device.type == "cuda"
    limit = bench_kernels.copy_speed(setting.device) if is_gpu else None
    for case in bench_kernels.cases(batch, setting.device):
        row = bench_kernels.measure(case, setting.device, 1 if setting.tiny else 7, timed=True, limit=limit)
        errors = [row[key] for key in ("forward", "backward") if isinstance(row[key], float)]
        yield {"op": row.pop("op"), "agrees": "yes" if max(errors) <= ERROR else "NO", **row}


def waits(setting: Setting) -> Rows:
    """Run training steps under PyTorch's check that no operation waits for the device."""
    for experiment in STEPPED:
        for fast in (False,) if setting.tiny else (False, True):
            words = ["train.batch_size=4", "train.workers=0", "train.ema=0.99"]
            words += [f"{key}={value}" for key, value in _fast_words(setting, fast) if key != "train.compile"]
            run = setting.run(experiment, *words)
            batch = next(run.feed.batches(0, lambda: 1))
            for _ in range(2):  # constants and the optimizer's state come to the device in the first step
                run.train_step(batch)
            row = {"experiment": experiment, "settings": "--fast" if fast else "plain"}
            yield {**row, "waits": _waiting_line(run, batch, setting.device)}


def _waiting_line(run: Run, batch: Any, device: torch.device) -> str:
    """Return the line of ours that waits for the device in a step, or "no"."""
    if device.type != "cuda":
        run.train_step(batch)
        return "not checked: no GPU"
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.train_step(batch)
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "pose_" in frame.filename]
        lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        return f"YES: {lines[-1]} ({str(error).splitlines()[0]})"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "no"


def _fast_words(setting: Setting, fast: bool) -> list[tuple[str, str]]:
    """Return the settings of --fast."""
    return [(key, value) for key, (value, _) in fast_settings(setting.device).items()] if fast else []


def training(setting: Setting, network: str, *, fast: bool) -> Rows:
    """Measure a network's training: steps with the data at hand at two batch sizes, and steps with the loader."""
    experiment, batch = setting.experiment(network)
    words = [*setting.words(batch), *(f"{key}={value}" for key, value in _fast_words(setting, fast))]
    wait = synchronizer(setting.device)
    run = setting.run(experiment, *words)
    batches = run.feed.batches(0, lambda: run.total_steps)
    held = next(batches)
    count = sum(len(part) for part in held)
    started = time.perf_counter()
    for _ in range(setting.least):  # compiles, and chooses algorithms
        run.train_step(held)
    wait()
    first = time.perf_counter() - started
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = seconds_of_step(run, held, setting)
    launched = []
    for _ in range(setting.least):
        wait()
        before = time.perf_counter()
        run.train_step(held)
        launched.append(time.perf_counter() - before)
    row: dict[str, object] = {
        "network": network, "settings": "--fast" if fast else "plain", "batch": count, "first steps, s": first,
        "step, ms": 1e3 * step, "samples/s, data at hand": count / step, "host, ms": 1e3 * median(launched),
    }  # fmt: skip
    peak = torch.cuda.max_memory_allocated() / 2**30 if setting.device.type == "cuda" else None
    row["memory, GiB"] = "-" if peak is None else peak
    loaded = loaded_rate(setting, batches, run.train_step)
    row |= {"samples/s, with the loader": loaded, "loader's share of a step": max(0.0, 1 - loaded * step / count)}
    if fast:
        yield row
        return  # compiled code is made for one size of batch
    # For scaling.py: the part of a step that does not depend on the batch.
    less = [next(iter(held[0].split(2 if count < 4 else 4)))]
    quicker = seconds_of_step(run, less, setting)
    each = (step - quicker) / (count - len(less[0]))
    fixed = max(step - count * each, 0.0)
    words_of_step = f"--step-ms {1e3 * fixed:.2f} {1e3 * each:.4f} --host-ms {1e3 * median(launched):.2f}"
    yield {**row, "for scaling.py": words_of_step}


def seconds_of_step(run: Run, batch: list[Any], setting: Setting) -> float:
    """Measure the seconds of a training step, of which several run without waiting for the device in between."""
    count = 1 if setting.tiny else 10

    def steps() -> None:
        for _ in range(count):
            run.train_step(batch)

    return seconds_of(steps, setting.device, setting.seconds, setting.least) / count


def loading(setting: Setting) -> Rows:
    """Measure the loader alone, with JPEGs decoded by the CPU or on the device."""
    experiment, batch = setting.experiment("lpn_50")
    for name, words in (
        ("by the CPU", []),
        ("by the CPU, an image's people together", ["train.share_decode=true"]),
        ("by the CPU, reduced", ["train.reduced_decode=true"]),
        ("on the device", ["train.device_decode=true"]),
    ):
        run = setting.run(experiment, *setting.words(batch), *words)
        batches = run.feed.batches(0, partial(getattr, run, "total_steps"))
        yield {"decoded": name, "samples/s": loaded_rate(setting, batches, lambda parts: None)}


def loaded_rate(setting: Setting, batches: Iterator[list[Any]], step: Callable[[list[Any]], object]) -> float:
    """Return samples per second with the loader, without what its processes had prepared before."""
    wait, samples = synchronizer(setting.device), 0
    began = end = 0.0
    for number, parts in enumerate(batches):
        if number == setting.prefetched:
            wait()
            samples, began = 0, time.perf_counter()
            end = began + 2 * setting.seconds
        step(parts)
        samples += sum(len(part) for part in parts)
        if end and time.perf_counter() > end:
            break
    wait()
    return samples / (time.perf_counter() - began)


def evaluation(setting: Setting) -> Rows:
    """Measure the evaluation of untrained networks on a small set, plain and with the settings of --fast."""
    for network in EVALUATED:
        if setting.tiny and network not in TOYS:
            continue
        experiment, batch = setting.experiment(network)
        for fast in (False, True):
            preset = fast_settings(setting.device, "inference") if fast else {}
            run = setting.run(experiment, *setting.words(batch), *(f"{key}={v}" for key, (v, _) in preset.items()))
            found = []
            for _ in range(1 if setting.tiny else 2):  # the first compiles, and chooses algorithms
                with tempfile.TemporaryDirectory() as folder:
                    started = time.perf_counter()
                    run.task.evaluate(run.networks, setting.device, Path(folder))
                    found.append(time.perf_counter() - started)
            images = 4 if setting.tiny else 80
            yield {
                "network": network, "settings": "--fast" if fast else "plain", "images": images, "first, s": found[0],
                "again, s": found[-1], "images/s": images / found[-1],
            }  # fmt: skip


def inference(setting: Setting) -> Rows:
    """Measure networks alone: one image at a time, and the best batch."""
    for network in ("lpn_18",) if setting.tiny else ("hrnet_w32", "lpn_50", "simplebaseline_resnet50"):
        (subject,) = subjects(network, (64, 64) if setting.tiny else None)
        for fast in (False, True):
            row = measure_network(subject, setting.device, fast=fast, training=False, budget=setting.seconds / 3)
            yield {
                "network": network, "settings": "--fast" if fast else "plain", "one image, ms": row.latency_ms,
                "images/s": row.throughput, "batch": row.batch, "memory, MB": row.memory_mb,
            }  # fmt: skip


PARTS: dict[str, tuple[Callable[[Setting], Rows], float]] = {
    "kernels": (kernels, 90),
    "waits": (waits, 120),
    **{f"training:{name}": (partial(training, network=name, fast=False), 60) for name in TRAINED},
    "loading": (loading, 60),
    "evaluation": (evaluation, 120),
    **{f"fast:{name}": (partial(training, network=name, fast=True), 150) for name in TRAINED},
    "inference": (inference, 120),
}
"""Each part, in order of importance, and the seconds after which it is stopped."""
FEWEST = 20.0
"""Seconds that a part needs at least."""


def parts(*, tiny: bool) -> list[str]:
    """Return the names of the parts to run."""
    return [name for name in PARTS if not tiny or name.partition(":")[2] in {"", *TOYS}]


def measure(name: str, setting: Setting, out: Path) -> None:
    """Run a part, and write its rows after each one."""
    rows: list[dict[str, object]] = []
    for row in PARTS[name][0](setting):
        rows.append(row)
        out.write_text(json.dumps(rows))


def measure_apart(name: str, setting: Setting, out: Path, limit: float) -> str:
    """Run a part in a process of its own; return what went wrong, or nothing."""
    words = ["--part", name, "--device", str(setting.device), "--data", str(setting.data), "--out", str(out)]
    command = [sys.executable, __file__, *words, *(["--tiny"] if setting.tiny else [])]
    try:
        done = subprocess.run(command, timeout=limit, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit:.0f} s"
    return "" if done.returncode == 0 else done.stderr.strip()[-2000:] or f"exit status {done.returncode}"


def print_part(name: str, rows: list[dict[str, object]], problem: str) -> None:
    """Print a part's table and its problem."""
    print(f"\n## {name}\n", flush=True)
    if rows:
        print_table(
            [{key: row.get(key, "-") for key in dict.fromkeys(k for each in rows for k in each)} for row in rows]
        )
    if problem:
        print(f"\nFAILED: {problem}" if not problem.startswith("skipped") else problem, flush=True)


def measure_all(names: list[str], setting: Setting, minutes: float) -> dict[str, Any]:
    """Run parts until the time is used up; return each one's rows and problem."""
    found: dict[str, Any] = {}
    end = time.perf_counter() + 60 * minutes
    for name in names:
        left = end - time.perf_counter()
        rows: list[dict[str, object]] = []
        if left < FEWEST:
            problem = f"skipped: {max(left, 0):.0f} s of --minutes {minutes:g} are left; run it with --only {name}"
        else:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "rows.json"
                problem = measure_apart(name, setting, out, min(left, PARTS[name][1]))
                rows = json.loads(out.read_text()) if out.exists() else []
        found[name] = {"rows": rows, "problem": problem}
        print_part(name, rows, problem)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=10, help="time for everything; parts beyond it are skipped (10)"
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu with --tiny (cuda)")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: tests the script, and measures nothing")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"parts to run: {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "error: PyTorch finds no GPU; run this on a machine with one, or test the script with --device cpu --tiny",
            file=sys.stderr,
        )
        return 1
    if device.type == "cpu" and not args.tiny:
        print("error: --device cpu only tests the script: add --tiny", file=sys.stderr)
        return 1
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if args.part is not None:
        measure(args.part, Setting(device, args.tiny, args.data), args.out)
        return 0
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "toy sizes on a CPU"
    print(f"{name}, {processor()}, PyTorch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_data(Path(folder), tiny=args.tiny)
        setting = Setting(device, args.tiny, Path(folder))
        minutes = args.minutes - (time.perf_counter() - started) / 60
        found = measure_all(args.only or parts(tiny=args.tiny), setting, minutes)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"machine": f"{name}, {processor()}", "parts": found}, indent=1) + "\n")
    failed = [
        part for part, result in found.items() if result["problem"] and not result["problem"].startswith("skipped")
    ]
    print("\n" + (f"failed: {', '.join(failed)}" if failed else "no part has failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
