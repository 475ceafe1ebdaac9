"""Evaluate a checkpoint on the config's validation split.

  %(prog)s --weights runs/mine/best.pt
  %(prog)s --cfg %(example)s --weights best.pt data.root=/data/coco
  %(prog)s --cfg %(example)s --weights best.pt --boxes detections.json    (top-down methods)

A run's checkpoint holds its experiment, and the data that it was trained on are found. Named weights have one, too.
Prints the benchmark's usual table, and under it the protocol: which boxes, flip test, decoding. Writes the predictions
in the benchmark's format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_device, add_fast, add_overrides, add_weights, load_fast


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``eval``."""
    add_config(parser)
    add_overrides(parser)
    add_weights(parser)
    parser.add_argument(
        "--random-weights", action="store_true", help="evaluate an untrained network, to try the pipeline"
    )
    parser.add_argument(
        "--boxes", metavar="gt|FILE", help="ground-truth boxes, or a detections JSON (the config's test.boxes)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write results/ to (the run's folder)")
    parser.add_argument(
        "--report", action="store_true", help="also write report.html there, which explains the score (`pose report`)"
    )
    add_device(parser)
    add_fast(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate a checkpoint and print the report."""
    from pose_core.errors import ConfigError

    if bool(args.weights) == args.random_weights:
        raise ConfigError("give --weights, or --random-weights to try the pipeline with an untrained network")
    if args.boxes == "gt":
        args.overrides += ["test.boxes=gt"]
    elif args.boxes:
        args.overrides += ["test.boxes=detections", f"data.detections={args.boxes}"]
    if args.report:
        from pose_core.report.page import require_jinja

        require_jinja()
    config = load_fast(args, "inference")
    from pose_core.engine.distributed import process_group
    from pose_core.engine.run_folder import run_path
    from pose_core.plugins.tasks import evaluate_checkpoint

    folder = Path(args.out) if args.out else run_path(config)
    with process_group(config.run.device) as process:
        evaluation = evaluate_checkpoint(config, args.weights, process, folder, strict=not args.partial_weights)
        if process.is_main:
            print(evaluation.report)
            if args.report and evaluation.metrics:
                _write_report(folder)
            elif args.report:
                print(f"no report: {config.data.val} has no public annotations, so its errors are not known")
    return 0


def _write_report(folder: Path) -> None:
    from pose_core.report.build import write_report

    written = write_report([folder])
    print(f"report: {written.page} and {written.figures.name}; open the page in a browser")
