"""Count people, joints, sizes and crowding, and find near-duplicate images.

  pose data stats --layout coco --root data/coco --splits train2017 val2017
  pose data stats --root my/data --splits train.json val.json --skeleton mine.yaml --json stats.json
  pose data stats --layout mpii --root data/mpii --no-images

Images that are the same but for their size, compression or a few pixels are found by a perceptual hash, within a split
and across splits: an image in both training and validation makes the score too good. --no-images skips that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.data_places import add_where, data_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data stats``."""
    add_where(parser)
    parser.add_argument(
        "--splits", nargs="+", metavar="SPLIT", help="splits, or annotation files (the layout's usual splits)"
    )
    parser.add_argument("--no-images", action="store_true", help="do not look for near-duplicates, which reads images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures and all near-duplicates")


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    from pose_core.files import write_json
    from pose_core.layouts.reader import read_dataset
    from pose_core.layouts.stats import dataset_stats
    from pose_core.layouts.table import get_layout

    data = data_config(args)
    splits = args.splits or get_layout(args.layout).splits
    found = [read_dataset(data, split, keep_unlabeled=True) for split in splits]
    stats = dataset_stats(found, images=not args.no_images)
    print(stats)
    if args.json:
        write_json(args.json, stats.to_json(), indent=1)
        print(f"written: {args.json}")
    return 0
