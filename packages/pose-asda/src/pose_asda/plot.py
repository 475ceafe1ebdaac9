"""Plot the losses of pose network and generator over steps, of one run or of several in one picture.

pose-asda plot runs/synthetic_adversarial --out plot.png
pose-asda plot runs/synthetic_plain runs/synthetic_random runs/synthetic_adversarial --smooth 10

Needs: pip install 'pose-core[plot]'
"""

from __future__ import annotations

import argparse

from pose_core.cli import plot

TITLES = {
    "loss": "loss of the pose network",
    "accuracy": "training accuracy of the pose network",
    "generator_loss": "loss of the generator (the negative of the pose network's)",
}
"""Keys of metrics.jsonl that are plotted, with the titles of their panels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plot.add_arguments(parser, TITLES)


def run(args: argparse.Namespace) -> int:
    return plot.run(args, TITLES)
