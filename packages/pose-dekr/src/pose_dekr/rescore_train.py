"""Train a scoring network on the data that rescore-data collected.

  pose-dekr rescore-train --cfg coco_dekr_w32_512 --out score.pt
  pose-dekr rescore-train --cfg … --data rescore_data.npz --out score.pt

The network predicts a pose's OKS from its shape and its joints' scores; evaluation multiplies each score by the
prediction: pose-dekr eval … rescore.weights=score.pt. Takes seconds to minutes on a CPU.
"""

from __future__ import annotations

import argparse

from pose_core.cli.arguments import add_config, add_overrides, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_overrides(parser)
    parser.add_argument(
        "--data", metavar="FILE", help="data written by rescore-data or rescore-convert; rescore.data by default"
    )
    parser.add_argument("--out", metavar="FILE", help="the weights file to write; rescore.weights by default")


def run(args: argparse.Namespace) -> int:
    config = load(args)
    from pose_core.errors import ConfigError, DataError
    from pose_core.models.weights import save_weights
    from pose_core.skeleton import get_skeleton
    from pose_dekr.config import DekrConfig
    from pose_dekr.rescore import read_rescore_data, train_score_net
    from pose_dekr.rescore_data import output_file

    assert isinstance(config, DekrConfig)
    settings = config.rescore
    if not args.out and settings.weights is None:
        raise ConfigError("no output file for the scoring network: give --out FILE, or set rescore.weights")
    out = output_file(args, "rescore.weights", settings.weights or "")
    source = args.data or settings.data
    data = read_rescore_data(source)
    joints = get_skeleton(config.data.skeleton).num_joints
    if data.points.shape[1] != joints:
        raise DataError(
            f"rescore data {source} are of {data.points.shape[1]} joints, {config.data.skeleton} has {joints}: "
            "collect them with this config"
        )
    network, losses = train_score_net(
        data, epochs=settings.epochs, batch=settings.batch_size, learning_rate=settings.lr, seed=config.run.seed
    )
    for epoch, loss in enumerate(losses, 1):
        print(f"epoch {epoch}/{len(losses)}  loss {loss:.5f}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, out)
    print(f"written: {out}; use it with rescore.weights={out}")
    return 0
