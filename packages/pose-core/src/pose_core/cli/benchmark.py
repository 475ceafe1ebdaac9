"""Measure the networks of all installed methods, and the stages around them, on this machine.

  pose benchmark 'hrnet*'                            size, speed, memory and training rate of some networks
  pose benchmark --stages                            also reading, targets, loss, decoding and evaluation
  pose benchmark --runs runs/a runs/b                the networks of trained runs, with accuracy on synthetic people
  pose benchmark --runs runs/a runs/b --on coco:/data/coco        … on COCO's val2017
  pose benchmark --fast --out after                  with the fast preset
  pose benchmark --compare before/benchmark.json after/benchmark.json

Every network is measured with the input and the joints of the first built-in experiment that uses it, or of its run.
The time of one image is measured with one thread on a CPU, everything else with all threads. Times are medians of
several rounds, each over all networks in turn, so that a temporary slowdown of the machine affects all of them.
"Of the limit" is the network's FLOP/s as a share of those of one large convolution, in inference and in training. A
network that is too large for the usual training batch is measured with a smaller one, given in the table. All networks
of all methods take three quarters of an hour on two slow cores: select some by name, or give --no-training.

The best weights of every run are evaluated on one data set, as `pose eval` does, regardless of their training data:
top-down networks with ground-truth boxes, bottom-up networks on whole images. These are different measures, and the
plot draws each in its own panel. The synthetic data set has the same images for every joint set (coco17, crowdpose14,
mpii16); it compares networks that were trained on synthetic people, and says nothing about photographs.

Writes benchmark.json, benchmark.md, benchmark.png and, with --runs, the predictions. benchmark.png needs matplotlib:
pip install 'pose-core[plot]'
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``benchmark``."""
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of networks, for example 'hrnet*' (all)")
    parser.add_argument("--input", metavar="HxW", help="one input size for all networks, height x width")
    parser.add_argument(
        "--runs", nargs="+", metavar="DIR", help="folders of trained runs: measure their networks, evaluate best.pt"
    )
    parser.add_argument(
        "--on", metavar="DATA",
        help="data set to evaluate --runs on: synthetic (the default; drawn once, below POSE_HOME), or "
        "LAYOUT:ROOT[:SPLIT], for example coco:/data/coco or crowdpose:data/crowd:val; the default split is that of "
        "published results",
    )  # fmt: skip
    parser.add_argument("--stages", action="store_true", help="also measure the stages around a network")
    parser.add_argument("--no-networks", action="store_true", help="measure only the stages")
    parser.add_argument("--no-training", action="store_true", help="skip the training rate")
    parser.add_argument(
        "--fast", action="store_true",
        help="folded batch norm, channels last, fused optimizer; on a GPU also bfloat16 and torch.compile",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="time for each figure over all rounds (1)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds over all networks (3)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="loader processes of the stages (2)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu or cuda (a GPU if there is one)")
    parser.add_argument("--out", default="runs/benchmark", metavar="DIR", help="folder of the results (runs/benchmark)")
    parser.add_argument(
        "--compare", nargs=2, metavar=("A.json", "B.json"), help="print the ratios of two results and measure nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, or compare two results, and write the files."""
    from pose_core.errors import ConfigError

    if args.compare:
        from pose_core.benchmark.report import compare_files

        print(compare_files(Path(args.compare[0]), Path(args.compare[1])))
        return 0
    if args.seconds <= 0:
        raise ConfigError(f"--seconds {args.seconds} must be positive")
    if args.rounds < 1:
        raise ConfigError(f"--rounds {args.rounds} must be 1 or more")
    if args.on and not args.runs:
        raise ConfigError("--on names a data set to evaluate trained runs on: give their folders with --runs DIR…")
    if args.input and args.runs:
        raise ConfigError("--input: a run's network is measured with the input it was trained with; remove --input")
    match = re.fullmatch(r"(\d+)x(\d+)", args.input) if args.input else None
    if args.input and not match:
        raise ConfigError(f"--input {args.input!r} must be height x width, for example 256x192")
    size = (int(match[2]), int(match[1])) if match else None

    import torch
    from tqdm import tqdm

    from pose_core.benchmark.accuracy import SYNTHETIC, subjects_of_runs
    from pose_core.benchmark.networks import NetworkRow, matrix_limit, measure_network, middle_row, subjects
    from pose_core.benchmark.report import draw_plot, header, to_json, to_markdown
    from pose_core.benchmark.stages import stage_rows
    from pose_core.drawing.figures import require_matplotlib
    from pose_core.engine.distributed import choose_device
    from pose_core.files import write_json, write_text
    from pose_core.verbosity import is_quiet, no_bar

    with_plot = not args.no_networks
    if with_plot:
        try:
            require_matplotlib()
        except ConfigError as error:
            # The measurements need no plot. Report it before they start, so that the user can still stop.
            print(f"no benchmark.png: {error}", file=sys.stderr)
            with_plot = False
    device = choose_device(args.device)
    torch.manual_seed(0)
    out = Path(args.out)
    chosen = []
    if args.runs and not args.no_networks:
        chosen = subjects_of_runs(args.runs, args.on or SYNTHETIC, device, out / "runs")
    elif not args.no_networks:
        chosen = subjects(args.pattern, size)
    measured: list[NetworkRow] = []
    bar = tqdm(chosen * args.rounds, "networks", unit="network", leave=False, disable=no_bar())
    budget = args.seconds / args.rounds
    for subject in bar:
        bar.set_postfix_str(subject.label or subject.name)
        if bar.disable and not is_quiet():  # no terminal; the largest networks take minutes
            print(
                f"network {len(measured) + 1} of {len(chosen) * args.rounds}: {subject.label or subject.name}",
                file=sys.stderr,
            )
        measured.append(measure_network(subject, device, fast=args.fast, training=not args.no_training, budget=budget))
    rows = [middle_row(measured[number :: len(chosen)]) for number in range(len(chosen))]
    stages = []
    if args.stages or args.no_networks:
        stages = stage_rows(out / "people", device, workers=args.workers, budget=args.seconds)
    limit = matrix_limit(device, fast=args.fast) if rows else None
    head = header(device, fast=args.fast, rounds=args.rounds, networks=rows, limit=limit)
    text = to_markdown(head, rows, stages)
    print(text)
    write_json(out / "benchmark.json", to_json(head, rows, stages), indent=1)
    write_text(out / "benchmark.md", text)
    written = [out / "benchmark.json", out / "benchmark.md"]
    if rows and with_plot:
        draw_plot(rows, out / "benchmark.png")
        written.append(out / "benchmark.png")
    print("written: " + ", ".join(map(str, written)))
    return 0
