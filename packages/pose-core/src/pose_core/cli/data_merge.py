"""Merge several splits into one, or corrected labels into an annotation file.

  pose data merge --root data/crowdpose
  pose data merge --layout coco --root data/coco --splits train2017 val2017 --name trainval2017
  pose data merge --into my/annotations/train.json cvat-export.zip --out my/annotations/corrected.json
  pose data merge --into train.json label-studio.json more.json --out corrected.json

With --into, the people of every image in the corrected files replace those of that image; all else stays as it is.
Corrected files are COCO files, alone or as CVAT exports them (COCO Keypoints 1.0: a zip or a folder), and Label
Studio's JSON. Images are found by their names, and the joints must have the same names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.next_steps import check_command
from pose_core.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``data merge``."""
    parser.add_argument("corrected", nargs="*", type=Path, metavar="CORRECTED", help="corrected files, with --into")
    parser.add_argument("--into", type=Path, metavar="FILE", help="the COCO file whose people are corrected")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the COCO file to write, with --into")
    parser.add_argument(
        "--layout", metavar="LAYOUT", help="layout of the splits to merge: crowdpose or coco (crowdpose)"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the splits to merge (data/crowdpose)")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to merge, in this order (train val)")
    parser.add_argument("--name", metavar="SPLIT", help="name of the new split (trainval)")


def run(args: argparse.Namespace) -> int:
    """Merge splits, or corrections."""
    if args.into is None:
        if args.corrected or args.out:
            raise ConfigError("name the file whose people are corrected: --into FILE CORRECTED… --out FILE")
        return _merge_splits(args)
    given = [name for name in ("layout", "root", "splits", "name") if getattr(args, name) is not None]
    if given:
        raise ConfigError(f"--{given[0]} merges splits; it does not go with --into")
    if not args.corrected or args.out is None:
        raise ConfigError("--into needs corrected files and a file to write: --into FILE CORRECTED… --out FILE")
    from pose_core.layouts.corrections import merge_corrections

    merged = merge_corrections(args.into, args.corrected, args.out)
    print(merged)
    print(f"to check it: {check_command('coco', *_place(args.into, args.out), merged.joints, args.out)}")
    return 0


def _place(into: Path, out: Path) -> tuple[Path, str]:
    """Return the data folder, which is that of the corrected file with its images, and the split that ``out`` is."""
    from pose_core.folders import own_root

    root = own_root(into)
    below = out.absolute().is_relative_to(root.absolute())
    split = out.absolute().relative_to(root.absolute()) if below else out
    return root, split.name if split.parent.as_posix() == "annotations" else split.as_posix()


def _merge_splits(args: argparse.Namespace) -> int:
    splits = args.splits or ["train", "val"]
    if len(splits) < 2:
        raise ConfigError("--splits needs at least two splits to merge, for example train val")
    from pose_core.folders import find_data_root
    from pose_core.layouts.table import LAYOUTS, get_layout

    layout, root = get_layout(args.layout or "crowdpose"), find_data_root(args.root or "data/crowdpose")
    if layout.merge is None:
        can = " and ".join(name for name, each in LAYOUTS.items() if each.merge is not None)
        raise ConfigError(f"--layout {layout.name}: its splits cannot be merged, only those of {can}")
    files = [layout.annotation_file(root, split) for split in splits]
    print(layout.merge(files, layout.annotation_file(root, args.name or "trainval")))
    return 0
