"""Divide an annotation file into parts to train, validate and test on.

  pose data split --root my/data all.json --skeleton mine.yaml
  pose data split --root my/data all.json --parts train=0.7 val=0.1 test=0.2 --by video --seed 1

Writes train.json, val.json and so on beside the file; images and annotations stay as they are. Near-duplicate images,
which would make the score too good, stay in one part. With --by video, so do frames of one video: images of the same
folder whose names differ only by a number at the end. With --by KEY, so do images with the same value of that key in
the file's images, for example --by video_id.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pose_core.cli.data_places import add_where, data_config
from pose_core.installation import shell_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data split``."""
    add_where(parser)
    parser.add_argument("split", metavar="FILE", help="a COCO annotation file, or a split of the layout")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["train=0.8", "val=0.1", "test=0.1"],
        metavar="NAME=SHARE",
        help="names of the parts and their shares of the images (train=0.8 val=0.1 test=0.1)",
    )
    parser.add_argument(
        "--by", default="image", metavar="image|video|KEY", help="what stays together besides near-duplicates (image)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="equal seeds give equal parts (0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (the folder of FILE)")
    parser.add_argument("--no-images", action="store_true", help="do not look for near-duplicates, which reads images")


def run(args: argparse.Namespace) -> int:
    """Write the parts, and print their people and joints and the next command."""
    from pose_core.layouts.split import divide, parse_parts

    shares = parse_parts(args.parts)
    done = divide(
        data_config(args), args.split, shares, args.out, by=args.by, seed=args.seed, images=not args.no_images
    )
    print(done)
    skeleton = f" --skeleton {shlex.quote(args.skeleton)}" if args.skeleton else ""
    files = " ".join(shlex.quote(str(part.file.absolute() if args.out else part.file.name)) for part in done.parts)
    root = shlex.quote(args.root)
    print(f"to check them: {shell_command('pose')} data check --root {root} --splits {files}{skeleton}")
    return 0
