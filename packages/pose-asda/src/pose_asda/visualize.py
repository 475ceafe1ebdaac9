"""Draw crops next to each other: original, random paste, adversarial paste, and target joints.

  pose-asda visualize --cfg synthetic_adversarial --weights runs/synthetic_adversarial/last.pt --count 8 --out paste.png

--weights takes a run's last.pt or a published checkpoint (checkpoint.pth, stn_41.pth); each file gets a column. Without
it the column shows a new generator, which leaves the parts in the center.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pose_core.cli.arguments import add_config, add_overrides, load
from pose_core.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from pose_asda.config import AsdaConfig, GeneratorConfig
    from pose_asda.generator import Generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``visualize``."""
    add_config(parser)
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="FILE", help="checkpoints with a generator, one column each"
    )
    parser.add_argument("--count", type=int, default=8, metavar="N", help="training samples, one row each (8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of parts and random placement (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("paste.png"), metavar="FILE", help="image to write (paste.png)"
    )
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Write the image and print its path."""
    from pose_core.cli.arguments import split_overrides
    from pose_core.drawing.sheets import contact_sheet, write_image

    more, weights = split_overrides(args.weights)
    del args.weights  # columns of the picture, which the experiment does not depend on
    args.overrides += more
    config = load(args)
    tiles, captions = paste_tiles(config, [Path(file) for file in weights], args.count, args.seed)  # type: ignore[arg-type]
    write_image(
        args.out, contact_sheet(tiles, captions, columns=len(tiles) // args.count, tile=config.model.input_size)
    )
    print(f"written: {args.out}")
    return 0


def paste_tiles(
    config: AsdaConfig, weights: Sequence[Path], count: int, seed: int = 0
) -> tuple[list[np.ndarray], list[str]]:
    """Return RGB tiles, one row per training sample (the first ``count``, not augmented), and their captions."""
    import torch

    from pose_asda.adversary import PasteObjective, on_device
    from pose_asda.dataset import PartedDataset
    from pose_asda.pixels import to_pixels
    from pose_asda.task import AsdaTask, with_parts
    from pose_core.plugins.networks import build_network
    from pose_core.skeleton import get_skeleton
    from pose_core.structures import Poses
    from pose_core.topdown.codec import HeatmapCodec

    config = config.without_variation()
    config = config.model_copy(update={"generator": config.generator.model_copy(update={"placement": "adversarial"})})
    task = AsdaTask(config, build_network)
    data = with_parts(task.people(), config)
    if not 0 < count <= len(data):
        raise ConfigError(f"--count {count}: must be from 1 to {len(data)}, the number of training samples")
    batch = PartedDataset.collate([data[(seed, index)] for index in range(count)])
    images, texels, boxes = on_device(batch)
    torch.manual_seed(seed)
    columns = {"original": images}
    codec = HeatmapCodec.from_config(config)
    at_random = PasteObjective(codec, config.generator.model_copy(update={"placement": "random"}))
    learned = PasteObjective(codec, config.generator)
    with torch.no_grad():
        columns["random"] = at_random.place_and_paste({}, images, texels, boxes, batch.part_types)
        files: list[Path | None] = [*weights] or [None]
        for file in files:
            generator = load_generator(config.generator, file).eval()
            pasted = learned.place_and_paste({"generator": generator}, images, texels, boxes, batch.part_types)
            columns["fresh generator" if file is None else f"adversarial {file.stem}"] = pasted
    skeleton = get_skeleton(config.data.skeleton)
    joints = batch.joints.numpy()
    tiles, captions = [], []
    for row in range(count):
        for name, crops in columns.items():
            tiles.append(to_pixels(crops[row], config.data.color))
            captions.append(name)
        poses = Poses(joints[row : row + 1, :, :2], joints[row : row + 1, :, 2], np.ones(1), skeleton)
        tiles.append(poses.draw(tiles[-1]))
        captions.append("target joints")
    return tiles, captions


def load_generator(settings: GeneratorConfig, file: Path | None) -> Generator:
    """Return the generator of a run's last.pt or of a published checkpoint; without a file, a new one."""
    from pose_asda.generator import Generator
    from pose_core.models.weights import companion_state

    generator = Generator(settings.depth, settings.width)
    if file is not None:
        state = companion_state(file, "generator", "stn_state_dict")
        try:
            generator.load_state_dict(state)
        except RuntimeError:
            raise WeightsError(
                f"{file}: its generator does not have generator.depth={settings.depth} and "
                f"generator.width={settings.width}; set them to the values it was trained with"
            ) from None
    return generator
