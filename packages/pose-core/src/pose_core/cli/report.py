"""Write a report of an evaluated run: what its score consists of, and what is behind it.

  %(prog)s runs/mine                                  writes runs/mine/report.html and report.json
  %(prog)s runs/first runs/second --out both.html     compares them, with the uncertainty of the difference

RUN is the folder of a run, or the one that `eval --out` wrote to. The page shows precision and recall, what each kind
of error costs, joints, groups of people, the worst and best images, training curves, and what was run. It is one file
that loads nothing else. Several runs must have been evaluated on the same images.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of evaluated runs")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the page (report.html, or comparison.html, in the first RUN)"
    )
    parser.add_argument("--root", metavar="DIR", help="the data set's folder, if it has been moved since")


def run(args: argparse.Namespace) -> int:
    """Write the report and print its result."""
    from pose_core.report.build import write_report

    written = write_report(args.runs, args.out, root=args.root)
    print("\n".join(written.lines))
    print(f"written: {written.page} and {written.figures.name}; open the page in a browser")
    return 0
