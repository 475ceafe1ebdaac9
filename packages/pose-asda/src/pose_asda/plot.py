"""Compare runs' training curves in one picture: without parts, with parts by chance, against the generator.

  pose-asda plot runs/plain runs/adversarial --out plot.png
  pose-asda plot runs/plain runs/adversarial --keys accuracy val/Mean --smooth 20

The generator's loss is that of the pose network turned round, on what the generator made of the same batch.
"""

from __future__ import annotations

import argparse

from pose_core.cli import plot

TITLES = {
    "accuracy": "training accuracy",
    "loss": "training loss of the pose network",
    "generator_loss": "training loss of the generator",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plot.add_arguments(parser, TITLES)


def run(args: argparse.Namespace) -> int:
    return plot.run(args, TITLES)
