"""Measure every installed method's networks, and the stages around them, on this machine.

  pose benchmark 'lpn*'                              size, speed, memory and training rate of some networks
  pose benchmark --stages                            reading, targets, loss, decoding, evaluation, too
  pose benchmark --runs runs/a runs/b                the networks of finished runs, with their accuracy
  pose benchmark --fast --out after                  what the fast preset gives
  pose benchmark --compare before/benchmark.json after/benchmark.json

Every network is measured with the input and the joints of the first built-in experiment that uses it. Time of one image
is by one thread on a CPU; everything else by all threads. Writes benchmark.json, benchmark.md and benchmark.png.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of networks, for example 'lpn*' (all)")
    parser.add_argument("--input", metavar="HxW", help="one input for all networks, height x width")
    parser.add_argument(
        "--runs", nargs="+", metavar="DIR", help="folders of finished runs: their networks, and accuracy"
    )
    parser.add_argument("--stages", action="store_true", help="measure the stages around a network, too")
    parser.add_argument("--no-networks", action="store_true", help="measure the stages alone")
    parser.add_argument("--no-training", action="store_true", help="leave out the training rate")
    parser.add_argument(
        "--fast", action="store_true",
        help="fold batch norm, order channels last, fused optimiser; on a GPU also bfloat16",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="time for each figure (1)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="loader processes of the stages (2)")
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="cpu, cuda; by default a GPU where there is one"
    )
    parser.add_argument("--out", default="runs/benchmark", metavar="DIR", help="folder of the results (runs/benchmark)")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A.json", "B.json"), help="print the ratios of two results; measures nothing"
    )


def run(args: argparse.Namespace) -> int:
    from pose_core.errors import ConfigError

    if args.compare:
        from pose_core.benchmark.report import compare_files

        print(compare_files(Path(args.compare[0]), Path(args.compare[1])))
        return 0
    if args.seconds <= 0:
        raise ConfigError(f"--seconds {args.seconds} must be positive")
    match = re.fullmatch(r"(\d+)x(\d+)", args.input) if args.input else None
    if args.input and not match:
        raise ConfigError(f"--input {args.input!r} must be height x width, for example 256x192")
    size = (int(match[2]), int(match[1])) if match else None

    import torch
    from tqdm import tqdm

    from pose_core.benchmark.networks import measure_network, subjects, subjects_of_runs
    from pose_core.benchmark.report import draw_plot, header, to_json, to_markdown
    from pose_core.benchmark.stages import stage_rows
    from pose_core.engine.distributed import choose_device
    from pose_core.files import write_json, write_text

    device = choose_device(args.device)
    torch.manual_seed(0)
    chosen = []
    if not args.no_networks:
        chosen = subjects_of_runs(args.runs) if args.runs else subjects(args.pattern, size)
    rows = []
    bar = tqdm(chosen, "networks", unit="network", leave=False, disable=None)
    for subject in bar:
        bar.set_postfix_str(subject.name)
        rows.append(
            measure_network(subject, device, fast=args.fast, training=not args.no_training, budget=args.seconds)
        )
    out = Path(args.out)
    stages = []
    if args.stages or args.no_networks:
        stages = stage_rows(out / "people", device, workers=args.workers, budget=args.seconds)
    head = header(device, fast=args.fast)
    text = to_markdown(head, rows, stages)
    print(text)
    write_json(out / "benchmark.json", to_json(head, rows, stages), indent=1)
    write_text(out / "benchmark.md", text)
    written = [out / "benchmark.json", out / "benchmark.md"]
    if rows:
        draw_plot(rows, out / "benchmark.png")
        written.append(out / "benchmark.png")
    print("written: " + ", ".join(map(str, written)))
    return 0
