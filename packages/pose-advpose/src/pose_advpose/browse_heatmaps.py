"""Draw heatmaps of held-out samples side by side: target, prediction, and the critic's reconstruction of both.

  pose-advpose browse-heatmaps --cfg synthetic_advpose --weights runs/synthetic_advpose/last.pt --out heatmaps.png

The caption of a reconstruction is its mean squared error, which is lower for heatmaps that the critic takes for real.
The weights are a run's last.pt, which holds both networks, or a published checkpoint. An experiment without a critic
has target and prediction only. Each pixel shows the highest value of all joints.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pose_core.cli.arguments import add_config, add_device, add_overrides, add_weights, load
from pose_core.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from pose_advpose.task import EmbeddingTask, HourglassTask
    from pose_core.config import Experiment
    from pose_core.engine.interfaces import TrainingSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_weights(parser)
    parser.add_argument("--count", type=int, default=6, metavar="N", help="number of samples (6)")
    parser.add_argument("--split", metavar="NAME", help="split to take them from (the experiment's data.val)")
    parser.add_argument(
        "--out", type=Path, default=Path("heatmaps.png"), metavar="FILE", help="the image to write (heatmaps.png)"
    )
    add_device(parser)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from pose_core.drawing.sheets import contact_sheet, write_image

    config = load(args)
    tiles, captions = heatmap_tiles(
        config, Path(args.weights), args.count, args.split or config.data.val, strict=not args.partial_weights
    )
    width, height = config.model.input_size
    sheet = contact_sheet(tiles, captions, columns=len(tiles) // args.count, tile=(200, round(200 * height / width)))
    write_image(args.out, sheet)
    print(f"written: {args.out}")
    return 0


def heatmap_tiles(
    config: Experiment, weights: Path, count: int, split: str, *, strict: bool = True
) -> tuple[list[np.ndarray], list[str]]:
    """Return RGB tiles ``(h, w, 3)``, a row for each of the first ``count`` samples of a split, and their captions."""
    import torch

    from pose_advpose.task import CRITIC, make_task
    from pose_core.engine.distributed import choose_device
    from pose_core.models.weights import companion_state
    from pose_core.plugins.networks import bare_network, load_weights

    task = make_task(config.without_variation(), bare_network)  # no pretrained backbone: the weights follow
    data = samples(task, split)
    if not 0 < count <= len(data):
        raise ConfigError(f"--count {count}: split {split!r} has {len(data)} samples")
    device = choose_device(config.run.device)
    networks = {name: network.to(device).eval() for name, network in task.networks().items()}
    load_weights(networks["pose"], weights, strict=strict)
    batch = data.collate([data[index] for index in range(count)])
    with torch.inference_mode():
        result = task.content(networks["pose"], batch.to(device))
        columns = {"target": result.real, "prediction": result.predicted}
        reconstructed = {}
        if CRITIC in networks:
            load_weights(networks[CRITIC], companion_state(weights, CRITIC, "netD"))
            for name, maps in columns.items():
                reconstructed[name] = networks[CRITIC](torch.cat([result.small, maps], 1)).to(maps.dtype)
    tiles, captions = [], []
    for row in range(count):
        image = batch.images[row].numpy()
        image = image if config.data.color == "rgb" else np.ascontiguousarray(image[..., ::-1])
        tiles.append(image)
        captions.append("image")
        for name, maps in columns.items():
            tiles.append(overlay(image, maps[row]))
            captions.append(f"{name}, highest {float(maps[row].max()):.2f}")
        for name, maps in reconstructed.items():
            tiles.append(overlay(image, maps[row]))
            error = float((maps[row] - columns[name][row]).square().mean())
            captions.append(f"critic of {name} {error:.1e}")
    return tiles, captions


def overlay(image: np.ndarray, maps: torch.Tensor) -> np.ndarray:
    """Draw the highest value of maps ``(K, h, w)`` at each pixel over an RGB image ``(H, W, 3)``."""
    from pose_core.drawing.heatmaps import heatmap_overlay

    return heatmap_overlay(image, maps.amax(0).clamp_min(0).cpu().numpy())


def samples(task: HourglassTask | EmbeddingTask, split: str) -> TrainingSet[Any]:
    """Return the samples of a split with their joints, as the task trains on them."""
    from pose_advpose.task import HourglassTask
    from pose_core.layouts.reader import read_dataset
    from pose_core.topdown.person_table import read_table

    if isinstance(task, HourglassTask):
        width, height = task.config.model.input_size
        return task.dataset(read_table(task.config.data, split, width / height)[0], training=True)
    return task.dataset(task.chosen(read_dataset(task.config.data, split, keep_unlabeled=True), training=False))
