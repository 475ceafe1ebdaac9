"""Print an experiment as it would run: every key with its value, defaults included.

pose-lite show-config --cfg coco_lpn50_256x192 train.epochs=10
"""

from __future__ import annotations

import argparse

from pose_core.cli.arguments import add_config, add_overrides, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from pose_core.config import dump_config

    print(dump_config(load(args)), end="")
    return 0
