"""List the built-in experiments.

pose configs             all installed methods
pose-lite configs lpn    those whose name holds a word
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="", help="show only names that hold this")
    parser.add_argument("--long", action="store_true", help="with each experiment's note")


def run(args: argparse.Namespace) -> int:
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
