"""The game over steps, of one run or of several in one picture: the losses of pose network and generator.

pose-asda plot runs/synthetic_adversarial --out plot.png
pose-asda plot runs/synthetic_plain runs/synthetic_random runs/synthetic_adversarial --smooth 10
"""

from __future__ import annotations

import argparse

from pose_core.cli import plot

TITLES = {
    "loss": "loss of the pose network",
    "accuracy": "its training accuracy",
    "generator_loss": "loss of the generator: the pose network's, negative",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plot.add_arguments(parser, TITLES)


def run(args: argparse.Namespace) -> int:
    return plot.run(args, TITLES)
