"""Collect training data for a scoring network: poses predicted on the training images, and the OKS of each.

  pose-dekr rescore-data --cfg coco_dekr_w32_512 --weights best.pt
  pose-dekr rescore-data --cfg … --weights best.pt --split val2017 --out rescore_data.npz

Predicts poses for the images of a split, without rescoring, and writes each with its OKS to the person it matches best.
Data made with one network can be used for others. Next: pose-dekr rescore-train
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_core.cli.arguments import add_config, add_device, add_overrides, add_weights, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_overrides(parser)
    add_weights(parser)
    parser.add_argument("--split", metavar="SPLIT", help="split to run on; the config's data.train by default")
    parser.add_argument("--out", metavar="FILE", help="the .npz file to write; rescore.data by default")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    config = load(args)
    from pose_core.engine.distributed import process_group
    from pose_core.plugins.networks import build_network, load_weights
    from pose_dekr.config import DekrConfig
    from pose_dekr.rescore import save_rescore_data
    from pose_dekr.task import DekrTask, collect_rescore_data

    assert isinstance(config, DekrConfig)
    plain = {"model": config.model.model_copy(update={"pretrained": None, "init": "framework"})}
    task = DekrTask(config.model_copy(update=plain), build_network)
    network = task.networks()["pose"]
    report = load_weights(network, args.weights, strict=not args.partial_weights)
    out = Path(args.out or config.rescore.data)
    with process_group(config.run.device) as place:
        data = collect_rescore_data(task, network, args.split or config.data.train, place.device)
        if place.is_main:
            print(report)
            save_rescore_data(data, out)
            print(f"written: {out}, {len(data.oks)} poses, mean similarity {data.oks.mean():.3f}")
    return 0
