"""Predict a training's rate on 1 to 64 GPUs from measured pieces, and name the bottleneck at each number.

    python shared/benchmark/scaling.py [--network NAME …] [--batch 64] [--out FILE.json] [--plot FILE.png]
    python shared/benchmark/scaling.py --validate         # predict 1 and 2 processes on this CPU, and measure them

The formulas are in scaling_model.py. Decoding, the loop's own cost, scoring and the bytes of the gradients are measured
on this machine; what only a GPU can show is assumed, and printed: the speed of the GPUs and of their links, the
launches of kernels. `on_a_gpu.py` measures these; ``--step-ms FIXED PER_SAMPLE`` and ``--host-ms`` take its figures.

Validation trains a small network with one thread and one loader process for each training process, in 1 and in 2
processes on two cores. Its prediction comes from pieces that are measured apart: steps at other batch sizes without a
loader, steps in two processes that do not know of each other, decoding, and the sum of as many bytes by gloo.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_loop import loop_seconds, real_steps, write_people
from rows import print_table
from scaling_model import Cluster, Pieces, bottleneck, evaluation_seconds, gains, samples_per_second, step_seconds
from stand_in import outline
from torch import nn

from pose_core.benchmark.stages import evaluation_set
from pose_core.evaluation import coco_keypoint_ap
from pose_core.machine import processor
from pose_core.plugins.experiments import load_config
from pose_core.plugins.networks import create_model, profile_model
from pose_core.plugins.tasks import build_task

COUNTS = (1, 2, 4, 8, 16, 32, 64)
SAMPLES, CROPS, SCORED = 149_813, 6352, 500
"""People of COCO's train2017; people of val2017; images of the set that scoring is measured on."""
IMAGES = 5000
EXPERIMENT = "pose-lite/synthetic_quick"
BATCH, LOG_EVERY = 16, 5


def decode_seconds(experiment: str, words: Sequence[str], people: Path, rounds: int = 3) -> float:
    """Measure the processor seconds of one training sample: reading, decoding, cutting out."""
    data = build_task(load_config(experiment, [f"data.root={people}", *words])).training_set()

    def run() -> None:
        data.collate([data[(0, index)] for index in range(len(data))])

    return seconds(run, rounds, time.process_time) / len(data)


def seconds(run: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    run()
    found = []
    for _ in range(rounds):
        started = clock()
        run()
        found.append(clock() - started)
    return median(found)


def gradient_bytes(network: nn.Module) -> int:
    """Return the bytes of a network's gradients in float32."""
    return sum(4 * parameter.numel() for parameter in network.parameters())


def gpu_pieces(name: str, decode: float, args: argparse.Namespace) -> tuple[Pieces, dict[str, str]]:
    """Measure here what this machine can show, assume the rest; return the pieces and their origin."""
    network = create_model(name)
    flops = 6 * 1e9 * profile_model(name, (192, 256)).gmacs  # two of a multiply-add, backward is twice forward
    launches = 3 * sum(1 for module in network.modules() if not list(module.children()))
    with tempfile.TemporaryDirectory() as folder:
        loop = median(loop_seconds(outline(network), Path(folder), 11, 0.9999))
    truth, detections = evaluation_set(SCORED)
    scoring = seconds(lambda: coco_keypoint_ap(truth, detections), 3, time.process_time) * IMAGES / SCORED
    step, sample = (value / 1e3 for value in args.step_ms or (0.0, 1e3 * flops / (args.tflops * 1e12)))
    host = args.host_ms / 1e3 if args.host_ms is not None else launches * args.launch_us / 1e6 + loop
    cores = args.cores_per_node / args.gpus_per_node
    # The flip test is two forward passes, each a third of a step.
    evaluation = CROPS * max(2 / 3 * sample, decode / cores)
    given = "given by --step-ms" if args.step_ms else f"assumed: {args.tflops:g} TFLOP/s reached"
    launched = "given by --host-ms" if args.host_ms is not None else (
        f"assumed: {launches} launches of {args.launch_us:g} µs; measured: loop {1e3 * loop:.1f} ms"
    )  # fmt: skip
    origin = {
        "decode and crop, a sample on one core": f"{1e3 * decode:.2f} ms, measured",
        "step on one GPU": f"{1e3 * step:.1f} ms + {1e3 * sample:.3f} ms a sample, {given}",
        "host thread, a step": f"{1e3 * host:.1f} ms, {launched}",
        "gradients": f"{gradient_bytes(network) / 1e6:.0f} MB, counted",
        "evaluation on one GPU": f"{evaluation:.1f} s of {CROPS} people (from the lines above) + {scoring:.1f} s of "
        "scoring, measured",
    }
    return Pieces(decode, step, sample, host, gradient_bytes(network), evaluation, scoring), origin


def predicted_rows(network: str, pieces: Pieces, cluster: Cluster, batch: int) -> list[dict[str, object]]:
    """Return a row for each number of GPUs."""
    one = samples_per_second(pieces, cluster, 1, batch, SAMPLES)
    rows: list[dict[str, object]] = []
    for count in COUNTS:
        rate = samples_per_second(pieces, cluster, count, batch, SAMPLES)
        steps = samples_per_second(pieces, cluster, count, batch)
        name = bottleneck(pieces, cluster, count, batch, SAMPLES)
        gain = gains(pieces, cluster, count, batch, SAMPLES)[name]
        rows.append(
            {
                "network": network,
                "GPUs": count, "samples/s": round(rate), "of linear": f"{rate / one / count:.0%}",
                "step, ms": 1e3 * step_seconds(pieces, cluster, count, batch),
                "steps alone, samples/s": round(steps),
                "epoch, s": SAMPLES / rate, "evaluation, s": evaluation_seconds(pieces, count),
                "bottleneck": name, "if it cost half": f"× {gain:.2f}",
            }
        )  # fmt: skip
    return rows


def draw(rows: Sequence[dict[str, Any]], title: str, file: Path) -> None:
    """Draw each network's rate over GPUs, with the bottleneck at each number, next to linear growth."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    figure = Figure(figsize=(6.5 * len(networks), 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    for axes, network in zip(panels, networks, strict=True):
        own = [row for row in rows if row["network"] == network]
        counts, rates = [row["GPUs"] for row in own], [row["samples/s"] for row in own]
        axes.plot(counts, [rates[0] * count for count in counts], "--", color="0.6", label="linear growth")
        axes.plot(
            counts, [row["steps alone, samples/s"] for row in own], color="tab:orange", label="training steps alone"
        )
        axes.plot(counts, rates, "o-", color="tab:blue", label="with an evaluation each epoch")
        for count, rate, row in zip(counts, rates, own, strict=True):
            axes.annotate(
                f"{rate:,}/s\n{row['bottleneck']}", (count, rate), xytext=(6, -8), textcoords="offset points", va="top",
                fontsize=8,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="GPUs", title=network)
        axes.minorticks_off()
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlim(0.85, counts[-1] * 2)
        axes.grid(alpha=0.3)
    panels[0].set_ylim(bottom=min(row["samples/s"] for row in rows) / 2)  # room for the text below the first
    panels[0].set_ylabel("samples per second")
    panels[0].legend(loc="upper left")
    figure.suptitle(title)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def timed_steps(batch: int, people: Path, steps: int, found: Any = None) -> float:
    """Measure the median processor seconds of a step of the small network with samples in memory, on one thread."""
    torch.set_num_threads(1)
    watched = real_steps(EXPERIMENT, [f"train.batch_size={batch}"], steps, people, time.perf_counter)
    result = median(watched.whole[1:])
    if found is not None:
        found.put(result)
    return result


def summed_bytes(rank: int, port: int, count: int, found: Any) -> None:
    """Measure the median seconds that two processes take to sum ``count`` bytes, and four, by gloo."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    large, small = torch.ones(count // 4), torch.ones(1)
    found.put([seconds(partial(torch.distributed.all_reduce, value), 9) for value in (large, small)])
    torch.distributed.destroy_process_group()


def in_two_processes(target: Callable[..., object], *args: object) -> list[Any]:
    """Run ``target(*args, queue)`` in two processes at a time; return what both put into the queue."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    numbered = target is summed_bytes
    each = [context.Process(target=target, args=((n,) if numbered else ()) + (*args, found)) for n in range(2)]
    for process in each:
        process.start()
    results = [found.get(timeout=300) for _ in each]
    for process in each:
        process.join()
    return results


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def cpu_pieces(people: Path, steps: int) -> tuple[Pieces, Cluster]:
    """Measure the pieces of a training on this CPU, and its cores."""
    config = load_config(EXPERIMENT, [f"data.root={people}"])
    network = build_task(config).networks()["pose"]
    small, large = BATCH // 2, BATCH * 3 // 2
    times = [timed_steps(batch, people, steps) for batch in (small, large)]
    sample = (times[1] - times[0]) / (large - small)
    fixed = max(times[0] - small * sample, 0.0)
    together = median(in_two_processes(timed_steps, BATCH, people, steps))
    moved = gradient_bytes(network)
    exchanged, shortest = (max(pair) for pair in zip(*in_two_processes(summed_bytes, free_port(), moved), strict=True))
    # The loop's own cost is part of the steps that were timed.
    pieces = Pieces(decode_seconds(EXPERIMENT, [], people), fixed, sample, 0.0, moved, 0.0)
    cores = len(os.sched_getaffinity(0))
    cluster = Cluster(
        devices_per_node=cores, cores_per_node=cores, link=moved / max(exchanged - shortest, 1e-9),
        latency=shortest / 2, overlap=0.0, on_cores=True,
        crowding=max(together / (fixed + BATCH * sample), 1.0),
    )  # fmt: skip
    return pieces, cluster


def repeat_people(people: Path, times: int) -> None:
    """List the images and people of a small COCO data set ``times`` times: each epoch ends with a checkpoint."""
    file = people / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    step = 1 + max(entry["id"] for entry in (*content["images"], *content["annotations"]))
    for key, ids in (("images", ("id",)), ("annotations", ("id", "image_id"))):
        content[key] = [
            {**entry, **{name: entry[name] + number * step for name in ids}}
            for number in range(times)
            for entry in content[key]
        ]
    file.write_text(json.dumps(content))


def trained_rate(processes: int, people: Path, rows: int) -> float:
    """Train as users do, and return the median of the rates in the log, after the first lines."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "train", "--cfg", EXPERIMENT, f"data.root={people}", f"run.dir={folder}", "run.name=run", "run.device=cpu",
            f"train.batch_size={BATCH * processes}", f"train.iterations={LOG_EVERY * (rows + 2)}", "train.epochs=10000",
            f"train.log_every={LOG_EVERY}", "train.ema=0", "train.validate_every=0", "train.workers=1",
        ]  # fmt: skip
        launch = [sys.executable, "-m"]
        if processes > 1:
            launch += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        done = subprocess.run(
            [*launch, "pose_lite", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"error: the training in {processes} processes failed:\n{done.stderr}")
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
        rates = [line["samples_per_second"] for line in lines if line["split"] == "train"]
    return float(median(rates[2:]))


def validation_rows(rounds: int, steps: int) -> tuple[list[dict[str, object]], Pieces, Cluster]:
    """Predict and measure 1 and 2 processes in each round; return the medians."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        people, many = write_people(Path(folder) / "people"), write_people(Path(folder) / "many")
        repeat_people(many, 100)
        for _ in range(rounds):
            pieces, cluster = cpu_pieces(people, steps)
            for count, values in found.items():
                guess = samples_per_second(pieces, cluster, count, BATCH)
                measured = trained_rate(count, many, steps // 3)
                print(f"{count} processes: predicted {guess:.1f}, measured {measured:.1f} samples/s", file=sys.stderr)
                values.append((guess, measured))
    rows: list[dict[str, object]] = []
    for count, values in found.items():
        errors = sorted(100 * (guess / rate - 1) for guess, rate in values)
        rows.append(
            {
                "processes": count,
                "predicted, samples/s": median(guess for guess, _ in values),
                "measured, samples/s": median(rate for _, rate in values),
                "error, %": f"{median(errors):+.1f} ({errors[0]:+.1f} … {errors[-1]:+.1f})",
                "bar": "within 15 %",
            }
        )
    return rows, pieces, cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["hrnet_w32", "lpn_50"], help="names that `pose models` lists")
    parser.add_argument("--batch", type=int, default=64, help="samples for each GPU in a step (64)")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="GPUs of a node (8)")
    parser.add_argument("--cores-per-node", type=int, default=128, help="CPU cores of a node (128)")
    parser.add_argument("--link-gb", type=float, default=200, help="GB/s between the GPUs of a node (200)")
    parser.add_argument("--network-gb", type=float, default=25, help="GB/s between nodes, for each GPU (25)")
    parser.add_argument("--latency-us", type=float, default=20, help="microseconds of a message (20)")
    parser.add_argument("--tflops", type=float, default=160, help="TFLOP/s that a GPU reaches in training (160)")
    parser.add_argument("--launch-us", type=float, default=6, help="microseconds of launching a kernel (6)")
    parser.add_argument(
        "--step-ms", type=float, nargs=2, metavar=("FIXED", "PER_SAMPLE"), help="measured step on a GPU"
    )
    parser.add_argument("--host-ms", type=float, help="measured host time of a step")
    parser.add_argument("--validate", action="store_true", help="predict and measure 1 and 2 processes on this CPU")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of --validate (3)")
    parser.add_argument("--steps", type=int, default=12, help="steps timed for each piece of --validate (12)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the prediction, as PNG or SVG")
    args = parser.parse_args()
    where = f"{processor()}, PyTorch {torch.__version__}, load {os.getloadavg()[0]:.1f}"
    print(f"{where}\n")
    if args.validate:
        rows, pieces, cluster = validation_rows(args.rounds, args.steps)
        used = {EXPERIMENT: asdict(pieces)}
    else:
        torch.set_num_threads(1)
        cluster = Cluster(
            args.gpus_per_node, args.cores_per_node, args.link_gb * 1e9, args.network_gb * 1e9, args.latency_us / 1e6
        )
        print(
            f"256x192, {args.batch} samples a GPU and step, {args.gpus_per_node} GPUs and"
            f" {args.cores_per_node} cores a node, {args.link_gb:g} GB/s in a node, {args.network_gb:g} GB/s between"
            f" nodes, {args.latency_us:g} µs a message; an evaluation after each epoch of {SAMPLES:,} samples\n"
        )
        rows, used = [], {}
        with tempfile.TemporaryDirectory() as folder:
            decode = decode_seconds("pose-lite/coco_lpn50_256x192", [], write_people(Path(folder)))
        for network in args.network:
            pieces, origin = gpu_pieces(network, decode, args)
            for name, text in origin.items():
                print(f"- {network}, {name}: {text}")
            rows += predicted_rows(network, pieces, cluster, args.batch)
            used[network] = asdict(pieces)
        print()
        if args.plot is not None:
            draw(rows, f"Predicted rate of training, {args.batch} samples a GPU and step", args.plot)
    print_table(rows)
    if args.out is not None:
        content = {"machine": where, "rows": rows, "pieces": used, "cluster": asdict(cluster)}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
