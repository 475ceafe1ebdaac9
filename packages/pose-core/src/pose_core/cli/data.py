"""Make and inspect data sets.

pose data synth    --out data/synthetic --images 200 --people 1-3
pose data check    --layout coco --root data/coco --splits train2017 val2017
pose data browse   --layout mpii --root data/mpii --split valid --out sheet.jpg
pose data new-skeleton my/data/train.json --sigmas default --out mine.yaml
pose data sigmas   --annotations first.json second.json third.json
pose data convert  --from coco data/coco --split val2017 --to yolo --out my-yolo
pose data merge    --root data/crowdpose
pose data merge    --into train.json corrected.zip --out corrected.json
pose data stats    --layout coco --root data/coco --splits train2017 val2017
pose data split    --root my/data all.json --parts train=0.8 val=0.2
pose data worst    runs/mine --count 50 --out worst
pose data build-lsp-mpii --mpii data/mpii --lsp data/lsp --out data
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose_core.cli import (
    build_lsp_mpii,
    data_browse,
    data_convert,
    data_merge,
    data_new_skeleton,
    data_split,
    data_stats,
    data_worst,
)
from pose_core.cli.data_places import add_layout, add_where, all_layouts
from pose_core.cli.parser import SubcommandParser
from pose_core.errors import ConfigError
from pose_core.installation import shell_command
from pose_core.plugins.method import CommandModule

MODULES: Mapping[str, tuple[str, CommandModule]] = {
    "convert": ("convert annotations between formats: COCO, MPII, YOLO, DeepLabCut, SLEAP, …", data_convert),
    "browse": ("draw annotations on their images, or what the network sees in training", data_browse),
    "stats": ("count people, joints and sizes, and find near-duplicate images", data_stats),
    "split": ("divide an annotation file into parts to train, validate and test on", data_split),
    "worst": ("find the images whose labels are worth correcting, for an annotation tool", data_worst),
    "merge": ("merge several splits into one, or corrected labels into an annotation file", data_merge),
    "new-skeleton": ("write the skeleton file of your own joints from a COCO file's categories", data_new_skeleton),
    "build-lsp-mpii": ("make lsp_mpii.h5 from the official annotations of MPII and LSP", build_lsp_mpii),
}
"""Subcommands with a module of their own: a line of help, and the module, which imports nothing slow."""


def _drawn_layouts() -> list[str]:
    from pose_core.synthetic import LAYOUTS as DRAWN

    return [name for name in all_layouts() if name in DRAWN]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data``."""
    own = ("synth", "check", "sigmas")
    verbs = parser.add_subparsers(
        dest="what", required=True, metavar="|".join([*own, *MODULES]), parser_class=SubcommandParser
    )

    synth = _add_command(
        verbs,
        "synth",
        "draw synthetic people and write them as a real data set",
        """
  pose data synth --out data/synthetic --images 200 --people 1-3
  pose data synth --out data/synthetic-mpii --layout mpii --size 320x320

Images, annotations and, for COCO, detections have the files and names of the published data set. The folder must be
new or empty, or hold synthetic people that --overwrite may replace.""",
    )
    synth.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    add_layout(synth, _drawn_layouts, "coco")
    synth.add_argument("--images", type=int, default=64, metavar="N", help="training images (64)")
    synth.add_argument(
        "--val-images",
        type=int,
        metavar="N",
        help="held-out images (a quarter of --images; for lsp always as many as --images)",
    )
    synth.add_argument("--people", default="1-4", metavar="A-B", help="people per image (1-4; for lsp always 1)")
    synth.add_argument("--size", default="640x480", metavar="WxH", help="image size, width x height (640x480)")
    synth.add_argument("--seed", type=int, default=0, metavar="N", help="random seed; equal seeds draw equal files (0)")
    synth.add_argument("--zip", action="store_true", help="pack the images into zip files")
    synth.add_argument("--masks", action="store_true", help="also write body-part label maps")
    synth.add_argument("--workers", type=int, default=1, metavar="N", help="drawing processes (1)")
    synth.add_argument(
        "--overwrite", action="store_true", help="replace synthetic people that were written to --out before"
    )
    synth.set_defaults(handle=_synth)

    check = _add_command(
        verbs,
        "check",
        "print the layout expected, what was found, and every problem",
        """
  pose data check --layout coco --root data/coco --splits train2017 val2017
  pose data check --root my/data --splits train.json val.json --skeleton mine.yaml

Reads all annotations as training and evaluation do, and opens some of the images. Exit code 3 if there is a problem
that would stop either.""",
    )
    add_where(check)
    check.add_argument(
        "--splits", nargs="+", metavar="SPLIT", help="splits, or annotation files, to check (the layout's usual splits)"
    )
    check.add_argument(
        "--decode", choices=["none", "sample", "all"], default="sample", help="which images to open (sample)"
    )
    check.set_defaults(handle=_check)

    # An earlier spelling of new-skeleton, which printed the file, with default sigmas; not listed.
    skeleton = verbs.add_parser("skeleton")
    skeleton.add_argument("file", type=Path, metavar="FILE")
    skeleton.add_argument("--category", metavar="NAME")
    skeleton.set_defaults(handle=_skeleton)

    sigmas = _add_command(
        verbs,
        "sigmas",
        "estimate a joint set's OKS sigmas from people annotated several times",
        """
  pose data sigmas --annotations first.json second.json third.json

Prints the lines for a skeleton file.""",
    )
    sigmas.add_argument(
        "--annotations",
        nargs="+",
        required=True,
        metavar="FILE",
        help="COCO keypoint files, one per annotator, with the same annotation ids; areas come from the first",
    )
    sigmas.set_defaults(handle=_sigmas)

    for name, (summary, module) in MODULES.items():
        command = _add_command(verbs, name, summary, (module.__doc__ or "").partition("\n")[2])
        module.add_arguments(command)
        command.set_defaults(handle=module.run)


def _add_command(
    verbs: argparse._SubParsersAction[Any], name: str, summary: str, description: str
) -> argparse.ArgumentParser:
    """Add a subcommand whose help has its summary as the first line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.\n{description}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Run a subcommand."""
    return int(args.handle(args))


def parse_range(text: str, option: str) -> tuple[int, int]:
    """Parse ``"1-4"`` or ``"2"`` as a closed range."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not match:
        raise ConfigError(f"{option} {text!r} must be a number or a range, for example 1-4")
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high:
        raise ConfigError(f"{option} {text!r}: the first number must not be larger than the second")
    return low, high


def _synth(args: argparse.Namespace) -> int:
    match = re.fullmatch(r"(\d+)x(\d+)", args.size)
    if not match:
        raise ConfigError(f"--size {args.size!r} must be width x height, for example 640x480")
    people = parse_range(args.people, "--people")
    from pose_core.synthetic import write_dataset

    summary = write_dataset(
        args.out,
        layout=args.layout,
        images=args.images,
        val_images=args.val_images,
        people=people,
        seed=args.seed,
        size=(int(match[1]), int(match[2])),
        zipped=args.zip,
        masks=args.masks,
        workers=args.workers,
        progress=True,
        overwrite=args.overwrite,
    )
    print(summary)
    print(f"to view it: {shell_command('pose')} data browse --layout {args.layout} --root {shlex.quote(str(args.out))}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from pose_core.layouts.check import check_dataset

    report = check_dataset(
        args.layout,
        args.root,
        args.splits,
        decode=args.decode,
        skeleton=args.skeleton,
        allowed_folders=args.allow,
    )
    print(report)
    return 0 if report.ok else 3


def _skeleton(args: argparse.Namespace) -> int:
    from pose_core.data.category_skeleton import skeleton_file

    print(skeleton_file(args.file, args.category), end="")
    return 0


def _sigmas(args: argparse.Namespace) -> int:
    if len(args.annotations) < 2:
        raise ConfigError("--annotations needs at least two files, one per annotator of the same people")
    from pose_core.data.repeat_annotations import read_repeated
    from pose_core.skeleton import estimate_sigmas

    repeated, areas, names = read_repeated([Path(file) for file in args.annotations])
    values = estimate_sigmas(repeated, areas)
    print(f"# from {len(repeated)} people annotated {len(args.annotations)} times")
    if not values.all():
        same = [name for name, value in zip(names, values, strict=True) if value == 0]
        print(
            f"warning: {'all' if len(same) == len(names) else 'some'} joints are annotated identically in every file "
            f"({', '.join(same[:3])}{', …' if len(same) > 3 else ''}), so their sigmas are 0 and cannot be used; give "
            "files of different annotators",
            file=sys.stderr,
        )
    print("sigmas:")
    for name, value in zip(names, values, strict=True):
        print(f"  - {value:.4f}  # {name}")
    return 0
