"""Write a report of an evaluated run: what its score consists of, and what is behind it.

  %(prog)s runs/mine                                  writes runs/mine/report.html and report.json
  %(prog)s runs/first runs/second --out both.html     compares them, with the uncertainty of the difference
  %(prog)s results.json --layout coco --root data/coco --split val2017      results of any tool

RUN is the folder of a run, the one that `eval --out` wrote to, or a results file: COCO entries (.json), or for MPII and
LSP pred.mat. The page shows precision and recall, what each kind of error costs, joints, groups of people, the worst
and best images, training curves, and what was run. It is one file that loads nothing else. Several runs must have been
evaluated on the same images.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pose_core.errors import ConfigError

if TYPE_CHECKING:
    from pose_core.config import DataConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of evaluated runs, or results files")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the page (report.html, or comparison.html, in the first RUN)"
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="the data set's folder: of a results file, or where a run's data are now",
    )
    parser.add_argument("--layout", metavar="LAYOUT", help="layout of a results file's data set: coco, mpii, …")
    parser.add_argument("--split", metavar="SPLIT", help="split of a results file (the layout's usual one)")
    parser.add_argument("--skeleton", metavar="NAME|FILE", help="joints of a results file (the layout's own)")


def run(args: argparse.Namespace) -> int:
    """Write the report and print its result."""
    from pose_core.report.build import write_report

    written = write_report(args.runs, args.out, root=args.root, data=_data_of_files(args))
    print("\n".join(written.lines))
    print(f"written: {written.page} and {written.figures.name}; open the page in a browser")
    return 0


def _data_of_files(args: argparse.Namespace) -> DataConfig | None:
    """Return the data that results files are of; None if none is named."""
    if args.layout is None:
        if args.split or args.skeleton:
            raise ConfigError("--split and --skeleton are for results files: give their --layout, too")
        return None
    if args.root is None:
        raise ConfigError("--layout needs --root, the folder of the data set")
    from pose_core.config import DataConfig
    from pose_core.layouts.table import get_layout

    layout = get_layout(args.layout)
    split, joints = args.split or layout.val, args.skeleton or layout.skeleton
    return DataConfig(layout=layout.name, root=args.root, val=split, skeleton=joints)
