"""List the built-in experiments.

%(prog)s                all of them
%(prog)s coco --long    those with "coco" in their name, with their notes
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``configs``."""
    parser.add_argument("pattern", nargs="?", default="", help="show only names that contain this")
    parser.add_argument("--long", action="store_true", help="also print each experiment's note")


def run(args: argparse.Namespace) -> int:
    """Print the names of the experiments, with ``--long`` also their notes."""
    from pose_core.plugins.method import get_method, installed_methods

    methods = [get_method(args.method)] if args.method else list(installed_methods().values())
    shown = 0
    for method in methods:
        for name, entry in method.experiments().items():
            if args.pattern not in name:
                continue
            shown += 1
            print(name if args.method else f"{method.script}/{name}")
            if args.long:
                print("".join(f"    {line}\n" for line in entry.note.splitlines()), end="")
    if not shown:
        print("no built-in experiment matches" if methods else "no method is installed; try: pip install pose-lite")
    return 0
