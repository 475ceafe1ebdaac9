"""Train a network.

  %(prog)s --cfg %(example)s data.root=/data/coco
  %(prog)s --cfg %(example)s --resume
  torchrun --standalone --nproc_per_node=4 -m %(package)s train --cfg %(example)s

Writes everything to one folder, runs/<config name>: the resolved config, log.txt, metrics.jsonl, TensorBoard events,
last.pt and best.pt, results/. With --resume a stopped run continues exactly where it was.
"""

from __future__ import annotations

import argparse

from pose_core.cli.arguments import add_config, add_device, add_fast, add_overrides, add_switches, load_fast


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``train``."""
    add_config(parser)
    add_overrides(parser)
    add_device(parser)
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument("--resume", action="store_true", help="continue the run in its folder from last.pt")
    resume.add_argument(
        "--auto-resume",
        action="store_true",
        help="continue the run if there is one, else start it; for jobs that may be restarted",
    )
    add_fast(parser)
    add_switches(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a finished or broken run in the same folder")


def run(args: argparse.Namespace) -> int:
    """Train, and return 130 if interrupted."""
    config = load_fast(args, "training")
    from pose_core.engine.trainer import train
    from pose_core.plugins.tasks import build_task

    result = train(build_task(config), resume="auto" if args.auto_resume else args.resume, overwrite=args.overwrite)
    return 130 if result.interrupted else 0
