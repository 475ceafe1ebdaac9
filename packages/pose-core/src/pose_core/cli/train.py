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
from pose_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``train``."""
    add_config(parser)
    add_overrides(parser)
    add_device(parser)
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument(
        "--resume", action="store_const", const=True, default=False, help="continue the run in its folder from last.pt"
    )
    resume.add_argument(
        "--resume=auto",
        "--auto-resume",
        dest="resume",
        action="store_const",
        const="auto",
        help="continue the run if there is one, else start it; take the checkpoint before a damaged one: for jobs that "
        "may be restarted",
    )
    parser.add_argument(
        "--inexact",
        action="store_true",
        help="with --resume: allow changed settings, data or number of processes, and say what is no longer exact",
    )
    parser.add_argument(
        "--init", metavar="WEIGHTS", help="start a new run from the weights of a checkpoint, a file or a name"
    )
    add_fast(parser)
    add_switches(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="start anew in a folder with a run, which is moved aside"
    )


def run(args: argparse.Namespace) -> int:
    """Train, and return 130 if interrupted."""
    config = load_fast(args, "training")
    from pose_core.engine.trainer import train
    from pose_core.layouts.sources import check_splits
    from pose_core.plugins.checkpoints import locate_weights
    from pose_core.plugins.tasks import build_task

    if args.inexact and not args.resume:
        raise ConfigError("--inexact is about continuing a run: use it with --resume")
    init = None
    if args.init:
        if args.resume is True:
            raise ConfigError("--init starts a new run and --resume continues one: use only one of them")
        init = locate_weights(args.init)
    check_splits(config.data)
    result = train(build_task(config), resume=args.resume, inexact=args.inexact, overwrite=args.overwrite, init=init)
    return 130 if result.interrupted else 0
