"""Draw annotations on their images, or training samples as the network gets them: a contact sheet or an HTML page.

  pose data browse --layout mpii --root data/mpii --split valid --out sheet.jpg
  pose data browse --root data/coco --count 200 --out coco.html
  pose data browse --cfg coco_lpn50_256x192 data.root=data/coco --out samples.jpg
  pose data browse --weights runs/mine/best.pt --epoch 3 --draws 6 --out samples.html

With --cfg it shows what an experiment trains on: crops or whole images after augmentation, in several draws, with their
joints, and beside them the targets as heatmaps. A labeled joint without a target, as it is out of the picture, has a
red cross; regions without a loss are gray. An epoch shows the samples that training gets in it. With --weights the
prediction is drawn, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_overrides, add_weights, load
from pose_core.cli.data_places import add_where, data_config
from pose_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data browse``."""
    add_where(parser, required=False)
    parser.add_argument("--split", metavar="SPLIT", help="split to show (the layout's training split)")
    parser.add_argument("--count", type=int, metavar="N", help="images shown (24), or with --cfg samples (6)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random choice of images (0)")
    parser.add_argument("--out", default="browse.jpg", metavar="FILE", help="a .jpg, .png or .html file (browse.jpg)")
    add_config(parser)
    add_weights(parser)
    parser.add_argument("--epoch", type=int, default=0, metavar="N", help="with --cfg: first epoch to draw (0)")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="with --cfg: epochs in a row (3)")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Draw the images, and print the file."""
    print(f"written: {_samples(args) if args.cfg or args.weights else _annotations(args)}")
    return 0


def _annotations(args: argparse.Namespace) -> Path:
    if args.root is None:
        raise ConfigError("give --root DIR to see annotations, or --cfg EXPERIMENT to see training samples")
    if args.overrides:
        raise ConfigError(f"{args.overrides[0]} is a setting of an experiment: give --cfg, too")
    from pose_core.layouts.browse import browse
    from pose_core.layouts.table import get_layout

    split = args.split or get_layout(args.layout).train
    return browse(data_config(args), split, Path(args.out), 24 if args.count is None else args.count, args.seed)


def _samples(args: argparse.Namespace) -> Path:
    count = 6 if args.count is None else args.count
    for name, value, least in (("--count", count, 1), ("--draws", args.draws, 1), ("--epoch", args.epoch, 0)):
        if value < least:
            raise ConfigError(f"{name} {value} must be at least {least}")
    if args.root is not None:
        args.overrides = [*args.overrides, f"data.root={args.root}"]
    if args.split is not None:
        args.overrides = [*args.overrides, f"data.train={args.split}"]
    config = load(args, needs_weights=False)
    from pose_core.inference.samples import browse_samples

    return browse_samples(
        config,
        Path(args.out),
        count=count,
        epoch=args.epoch,
        draws=args.draws,
        seed=args.seed,
        weights=args.weights,
    )
