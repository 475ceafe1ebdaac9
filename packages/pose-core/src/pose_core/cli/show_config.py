"""Print an experiment with every key and its value, defaults included.

%(prog)s --cfg %(example)s train.epochs=10
%(prog)s --cfg %(example)s --explain       with the meaning of every key
%(prog)s --weights runs/mine/best.pt
"""

from __future__ import annotations

import argparse

from pose_core.cli.arguments import add_config, add_overrides, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``show-config``."""
    add_config(parser)
    add_overrides(parser)
    parser.add_argument(
        "--weights",
        metavar="NAME|FILE",
        help="print the experiment of these weights; with --cfg, that one with the settings that come with them",
    )
    parser.add_argument("--explain", action="store_true", help="print the meaning of each key above it")


def run(args: argparse.Namespace) -> int:
    """Print the resolved experiment as YAML."""
    from pose_core.config import dump_config
    from pose_core.config.explain import dump_explained

    print((dump_explained if args.explain else dump_config)(load(args, needs_weights=False)), end="")
    return 0
