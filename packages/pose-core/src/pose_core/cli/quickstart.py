"""Train, evaluate and draw predictions on this machine in a few minutes, without downloads.

Draws a data set of synthetic people, trains a small network on it, evaluates COCO AP on held-out images, and writes
predictions.jpg, training.png and the run's folder. Needs: pip install 'pose-core[plot]'
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``quickstart``."""
    parser.add_argument("--out", default="runs/quickstart", metavar="DIR", help="folder of the run (runs/quickstart)")
    parser.add_argument("--images", type=int, default=3000, metavar="N", help="training images (3000)")
    parser.add_argument("--val-images", type=int, default=200, metavar="N", help="held-out images (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of data and training (0)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, for example train.epochs=40")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda (a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Run the four steps and print the results."""
    from pose_core.drawing.figures import require_matplotlib
    from pose_core.errors import ConfigError
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.method import installed_methods
    from pose_core.synthetic import write_dataset

    require_matplotlib()
    started = time.monotonic()
    method = next((m for m in installed_methods().values() if m.quickstart), None)
    if method is None:
        raise ConfigError("the quickstart needs a method package; try: pip install pose-lite")
    folder = Path(args.out)
    print(f"1/4  drawing {args.images} training and {args.val_images} held-out images of synthetic people")
    write_dataset(
        folder / "data",
        layout="coco",
        images=args.images,
        val_images=args.val_images,
        people=(1, 1),
        size=(256, 192),
        seed=args.seed,
        workers=min(2, os.cpu_count() or 1),
        progress=True,
    )
    overrides = [
        f"data.root={folder / 'data'}",
        f"run.dir={folder.parent}",
        f"run.name={folder.name}",
        f"run.seed={args.seed}",
        *([f"run.device={args.device}"] if args.device else []),
        *args.overrides,
    ]
    config = load_config(f"{method.script}/{method.quickstart}", overrides)

    from pose_core.engine.metrics import plot_metrics
    from pose_core.engine.trainer import train
    from pose_core.inference.sheets import prediction_sheet
    from pose_core.plugins.predictors import Predictor
    from pose_core.plugins.tasks import build_task

    print(f"2/4  training {config.model.name} for {config.train.epochs} epochs")
    result = train(build_task(config), resume=False, overwrite=True)
    if result.interrupted or result.evaluation is None:
        return 130
    print("3/4  evaluating on the held-out images")
    print(result.evaluation.report)
    print("4/4  drawing")
    predictor = Predictor.from_config(config, weights=folder / "best.pt", device=config.run.device)
    prediction_sheet(predictor, config, folder / "predictions.jpg")
    plot_metrics(folder / "metrics.jsonl", folder / "training.png")
    seconds = time.monotonic() - started
    weights, command = folder / "best.pt", method.script
    print(
        f"\nCOCO AP {result.evaluation.value:.3f} on {args.val_images} held-out synthetic images"
        f", {seconds:.0f} s in all\n"
        f"\nresults  {folder / 'predictions.jpg'}   predictions on held-out images"
        f"\n         {folder / 'training.png'}      loss and AP over the training"
        f"\n         {folder}/                the run: config, log, metrics, checkpoints, results"
        "\n\nthree things to try next"
        f"\n  {command} predict --cfg {folder / 'config.yaml'} --weights {weights}"
        f" {folder / 'data' / 'images' / 'val2017'} --out predictions"
        f"\n  {command} eval --cfg {folder / 'config.yaml'} --weights {weights} --boxes gt test.flip=false"
        f"\n  {command} train --cfg {method.example or 'NAME'} data.root=/path/to/coco"
    )
    return 0
