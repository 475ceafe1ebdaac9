"""Convert annotations between formats, and say what is lost.

  pose data convert --from coco data/coco --split val2017 --to yolo --out my-yolo --name val
  pose data convert --from coco my/annotations/train.json --to crowdpose --out my-crowdpose
  pose data convert --from deeplabcut labeled-data/one/CollectedData_me.csv --to coco --out my-coco
  pose data convert --from sleap labels.json --to coco --out my-coco --skeleton mine.yaml --joints nose=snout
  pose data convert --from mpii data/mpii --to coco --out my-coco --skeleton coco17

The formats are coco, crowdpose, mpii and lsp (a data set's folder; coco also a .json file), yolo (data.yaml, or its
folder), deeplabcut (.csv or .h5 files), sleap and label-studio (a .json file). Joints of equal names are mapped, in
other spellings, too; a line says for each joint that is lost how many labels it had.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data convert``."""
    parser.add_argument(
        "--from", dest="source", nargs="+", required=True, metavar=("FORMAT", "PATH"), help="the format and its files"
    )
    parser.add_argument("--to", required=True, metavar="FORMAT", help="the format to write")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to write to")
    parser.add_argument("--split", default="", help="the split to read, if a path has several (its training split)")
    parser.add_argument("--name", default="", help="the name of the split to write (that of --split, or train)")
    parser.add_argument("--skeleton", metavar="NAME|FILE", help="the joints to write (those of the files)")
    parser.add_argument(
        "--from-skeleton", metavar="NAME|FILE", help="the joints of the files, if they do not name them"
    )
    parser.add_argument(
        "--joints",
        nargs="+",
        default=(),
        metavar="TARGET=SOURCE",
        help="joints to write, and the joint of the files that each comes from; TARGET= leaves it without labels",
    )
    parser.add_argument(
        "--images",
        choices=["link", "copy", "none"],
        default="link",
        help="hard links to the images, which take no space, copies, or annotations only (link)",
    )
    parser.add_argument("--force", action="store_true", help="replace annotation files that exist")


def run(args: argparse.Namespace) -> int:
    """Convert annotations; print what was lost and how to check the result."""
    from pose_core.cli.next_steps import check_command
    from pose_core.layouts.convert import convert
    from pose_core.layouts.formats.table import FORMATS
    from pose_core.skeleton import get_skeleton
    from pose_core.suggestions import did_you_mean

    for option, name in (("--from", args.source[0]), ("--to", args.to)):
        if name not in FORMATS:
            hint = did_you_mean(name, FORMATS) or "."
            raise ConfigError(f"{option} {name!r} is not a format{hint} Known: {', '.join(FORMATS)}")
    source, target = FORMATS[args.source[0]], FORMATS[args.to]
    if len(args.source) < 2:
        raise ConfigError(f"--from {source.name} needs a path: {source.files}")
    joints: dict[str, str | None] = {}
    for pair in args.joints:
        to, sign, origin = pair.partition("=")
        if not sign or not to:
            raise ConfigError(f"--joints {pair!r} must be TARGET=SOURCE, for example nose=snout")
        joints[to] = origin or None
    done = convert(
        source,
        [Path(path).expanduser() for path in args.source[1:]],
        target,
        args.out,
        split=args.split,
        name=args.name,
        from_skeleton=get_skeleton(args.from_skeleton) if args.from_skeleton else None,
        to_skeleton=get_skeleton(args.skeleton) if args.skeleton else None,
        joints=joints,
        images=args.images,
        replace_files=args.force,
    )
    print(done)
    written = done.written
    if written.layout and args.images != "none":
        line = check_command(written.layout, args.out, written.split, done.skeleton.joints, written.files[0])
        print(f"to check it: {line}")
    return 0
