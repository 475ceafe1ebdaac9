"""Compare runs' training curves in one picture: the same network without a critic and against one.

  pose-advpose plot runs/synthetic_hgpose runs/synthetic_advpose --out plot.png
  pose-advpose plot runs/plain runs/against --keys acc val/Mean --smooth 20

Where a run has a critic, further panels show the balance k, and the critic's errors on real heatmaps and predictions.
Needs: pip install 'pose-core[plot]'
"""

from __future__ import annotations

import argparse

from pose_core.cli import plot

TITLES = {
    "acc": "training accuracy (batch PCK)",
    "loss": "training loss",
    "kt": "balance k between pose network and critic",
    "loss_d_real": "critic's error on real heatmaps (loss_d_real)",
    "loss_d_fake": "critic's error on predictions (loss_d_fake)",
}
"""Keys of metrics.jsonl that are plotted, with the titles of their panels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plot.add_arguments(parser, TITLES)


def run(args: argparse.Namespace) -> int:
    return plot.run(args, TITLES)
