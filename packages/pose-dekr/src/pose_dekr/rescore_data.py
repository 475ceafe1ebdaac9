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
from pose_core.errors import ConfigError
from pose_core.folders import leads_outside

OUTPUTS = (".npz", ".pth", ".pt", ".safetensors")
"""Endings of files that a config may name to be written: those of rescore data and of weights."""


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
    out = output_file(args, "rescore.data", config.rescore.data)
    plain = {"model": config.model.model_copy(update={"pretrained": None, "init": "framework"})}
    task = DekrTask(config.model_copy(update=plain), build_network)
    network = task.networks()["pose"]
    report = load_weights(network, args.weights, strict=not args.partial_weights)
    with process_group(config.run.device) as place:
        data = collect_rescore_data(task, network, args.split or config.data.train, place.device)
        if place.is_main:
            print(report)
            save_rescore_data(data, out)
            print(f"written: {out}, {len(data.oks)} poses, mean similarity {data.oks.mean():.3f}")
    return 0


def output_file(args: argparse.Namespace, key: str, named: str) -> Path:
    """Return the file to write: ``--out``, or the setting ``key``, whose value is ``named``.

    Raise ConfigError if only a config names a file outside of the current folder, or one that is not the command's.
    """
    if args.out:
        return Path(args.out)
    if any(item.startswith(f"{key}=") for item in args.overrides):
        return Path(named)
    if leads_outside(named) or Path(named).suffix not in OUTPUTS:
        raise ConfigError(
            f"{key} is {named!r}: a config may only choose a file below the current folder that ends in "
            f"{' or '.join(OUTPUTS)}; give the file with --out"
        )
    return Path(named)
