"""Convert the published code's training data for a scoring network, a pickle, to the .npz that rescore-train reads.

  pose-dekr rescore-convert rescore_dataset_train_coco_kpt --out rescore_data.npz

A pickle can hold programs. Only numbers are read from it, in a process whose memory and time are limited.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pickle", metavar="FILE", help="data written by the published code")
    parser.add_argument("--out", metavar="FILE", required=True, help="the .npz file to write")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from pose_core.plurals import counted
    from pose_dekr.rescore import convert_rescore_data

    data = convert_rescore_data(Path(args.pickle), Path(args.out))
    print(f"written: {args.out}, {counted(len(data.oks), 'pose')}, mean similarity {data.oks.mean():.3f}")
    return 0
