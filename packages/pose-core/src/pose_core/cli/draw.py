"""Draw predictions on their images: the results of an evaluation, or what predict wrote.

  %(prog)s --predictions runs/mine/results/keypoints_val2017_results.json --images data/coco/images/val2017
  %(prog)s --predictions results.json --images my/images --annotations my/annotations.json
  %(prog)s --predictions results.json --layout coco --root data/coco --ground-truth --count 50
  %(prog)s --predictions runs/mine/results/pred.mat --layout mpii --root data/mpii
  %(prog)s --predictions predictions/clip.jsonl --images clip.mp4 --min-score 0.5

Reads lists of COCO-style results (image_id, keypoints, score), pred.mat of MPII and LSP, and the .json and .jsonl files
of predict. Without annotations the image of id 785 is the one whose name ends in that number: 000000000785.jpg. Images
without a prediction are not drawn. The exit code is 3 if an image is missing or cannot be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.data_places import Later
from pose_core.errors import ConfigError


def _layouts() -> list[str]:
    from pose_core.layouts.table import LAYOUTS

    return list(LAYOUTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``draw``."""
    parser.add_argument("--predictions", type=Path, required=True, metavar="FILE", help="a file of predictions")
    parser.add_argument(
        "--images", type=Path, metavar="PLACE", help="the images: a folder, a zip file or, for .jsonl, the video"
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="annotation file that names the images, in COCO's form or MPII's annot/*.json",
    )
    parser.add_argument(
        "--layout",
        choices=Later(_layouts),
        metavar="LAYOUT",
        help="instead of --images: the predictions are of a data set in this published layout (%(choices)s)",
    )
    parser.add_argument("--root", metavar="DIR", help="that data set's folder")
    parser.add_argument("--split", metavar="SPLIT", help="its split (the one that published results are reported on)")
    parser.add_argument(
        "--skeleton", metavar="NAME|FILE", help="joint set (the best-known one of as many joints, such as coco17)"
    )
    parser.add_argument(
        "--min-score", type=float, default=0.3, metavar="S", help="minimum score of a person to be drawn (0.3)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.2, metavar="S", help="minimum score of a joint to be drawn (0.2)"
    )
    parser.add_argument("--style", default="side", metavar="NAME", help="colors: side, chunhua, xiaochu (side)")
    parser.add_argument(
        "--ground-truth", action="store_true", help="draw the annotated people beside, on the left of each image"
    )
    parser.add_argument("--count", type=int, metavar="N", help="draw the first N images (all)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the drawn images (NAME_drawn beside the predictions)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace images that were drawn there before")


def run(args: argparse.Namespace) -> int:
    """Draw the predictions and print a summary; return 3 if an image is missing or cannot be read."""
    if (args.layout is None) != (args.root is None):
        raise ConfigError("--layout and --root belong together: give both, for example --layout coco --root data/coco")
    if args.layout is not None and (args.images or args.annotations):
        raise ConfigError(
            "--layout names the images and annotations of a data set: leave out --images and --annotations"
        )
    if args.split and args.layout is None:
        raise ConfigError("--split needs --layout and --root")
    if args.annotations and not args.images:
        raise ConfigError("--annotations names images: give the folder that they are in as --images DIR")
    if args.count is not None and args.count < 1:
        raise ConfigError(f"--count {args.count}: give a number from 1")
    from pose_core.inference.drawn_results import Style, draw_results
    from pose_core.inference.result_images import ImagesOf
    from pose_core.skeleton import get_skeleton

    summary = draw_results(
        args.predictions,
        ImagesOf(args.images, args.annotations, args.layout, args.root or "", args.split),
        args.out,
        Style(args.min_score, args.threshold, args.style),
        skeleton=get_skeleton(args.skeleton) if args.skeleton else None,
        ground_truth=args.ground_truth,
        count=args.count,
        overwrite=args.overwrite,
    )
    print(summary)
    return 3 if summary.missing or summary.unreadable else 0
