"""Train on a few images, without augmentation, until the loss is near zero.

  %(prog)s --cfg %(example)s data.root=/my/data

The smoke test for your own data: if a network cannot overfit eight images in a minute or two, then the joints, the
boxes or the configuration are wrong, and longer training will not help. Draws the predictions for these images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_device, add_overrides, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``overfit``."""
    add_config(parser)
    add_overrides(parser)
    parser.add_argument("--images", type=int, default=8, metavar="N", help="people, or whole images, to train on (8)")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="optimizer steps (200)")
    parser.add_argument("--out", metavar="DIR", help="folder of the plot (runs/overfit-<config name>)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Train, draw the predictions, and return 1 if the network did not learn the images."""
    config = load(args)
    from pose_core.engine.overfit import overfit
    from pose_core.engine.run_folder import run_path
    from pose_core.inference.sheets import batch_sheet
    from pose_core.plugins.method import get_method
    from pose_core.plugins.tasks import build_task
    from pose_core.skeleton import get_skeleton

    folder = Path(args.out) if args.out else run_path(config).with_name(f"overfit-{config.name}")
    result = overfit(build_task, config, images=args.images, steps=args.steps)
    print(result)
    sheet = folder / "learned.jpg"
    skeleton = get_skeleton(config.data.skeleton)
    predictor = get_method(config.method).predictor(result.networks["pose"], config, skeleton, result.device)
    batch_sheet(predictor, result.batch, sheet)
    print(f"predictions for the training images: {sheet}")
    return 0 if result.learned else 1
