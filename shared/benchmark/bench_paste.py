"""Pasting against a loop over parts, and the pipeline with parts against the one without.

    python shared/benchmark/bench_paste.py [--batch 32] [--side 256] [--slots 4] [--repeats 5]

Both sides of a pair run alternately in one process, on one thread; the smaller time of the repeats counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import default_collate

from pose_asda.adversary import on_device
from pose_asda.build_parts import synthetic_people, write_pool
from pose_asda.config import AsdaConfig
from pose_asda.generator import placements_to_thetas, random_placements
from pose_asda.task import AsdaTask
from pose_core.data.synthetic import write_dataset
from pose_core.ops import paste


def loop(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor) -> Tensor:
    """As published: for every slot a grid, the parts' sampling, the masks' sampling, and the composition."""
    x = images
    for slot in range(parts.shape[1]):
        grid = affine_grid(thetas[:, slot], [*parts[:, slot].shape], align_corners=True)
        part = grid_sample(parts[:, slot], grid, align_corners=True)
        mask = grid_sample(masks[:, slot], grid, align_corners=True)
        x = x * (1 - mask) + part * mask
    return x


def race(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least seconds of each, run alternately."""
    best = [float("inf")] * 2
    for _ in range(repeats):
        for number, run in enumerate((first, second)):
            start = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - start)
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_dataset(folder / "people", "mpii", args.batch, (1, 1), 0, val_images=0, split="train")
        write_pool(synthetic_people(folder / "scratch", 20, 1), folder / "pool", 200, 0.8)
        config = AsdaConfig.model_validate(
            {
                "method": "asda",
                "data": {"layout": "mpii", "root": str(folder / "people"), "train": "train", "skeleton": "mpii16"},
                "model": {"name": "hrnet_w32", "input_size": [args.side, args.side]},
                "parts": {"annotations": str(folder / "pool/part_anns.json"), "counts": [args.slots]},
            }
        )
        parted = AsdaTask(config).training_set()
        none = config.generator.model_copy(update={"placement": "none"})
        plain = AsdaTask(config.model_copy(update={"generator": none})).training_set()
        keys = [(0, index) for index in range(args.batch)]
        batch = default_collate(parted.__getitems__(keys))
        images, parts, masks = on_device(batch)
        thetas = placements_to_thetas(random_placements(args.batch, images.device), batch.part_types)

        def learn(op: Callable[..., Tensor], **options: bool) -> None:
            leaf = thetas.clone().requires_grad_()
            op(images, parts, masks, leaf, **options).sum().backward()

        ours = paste(images, parts, masks, thetas, align_corners=True)
        largest = float((ours - loop(images, parts, masks, thetas)).abs().max())
        size = f"{args.batch} x {args.side}^2 x {args.slots} parts"
        print(f"batch {size}, one thread; largest difference {largest:.1e}")
        slow, fast = race(
            lambda: loop(images, parts, masks, thetas),
            lambda: paste(images, parts, masks, thetas, align_corners=True),
            args.repeats,
        )
        print(f"forward           loop {slow * 1e3:7.1f} ms   paste {fast * 1e3:7.1f} ms   {slow / fast:.2f} x")
        slow, fast = race(lambda: learn(loop), lambda: learn(paste, align_corners=True), args.repeats)
        print(f"forward, backward loop {slow * 1e3:7.1f} ms   paste {fast * 1e3:7.1f} ms   {slow / fast:.2f} x")
        without, having = race(
            lambda: default_collate(plain.__getitems__(keys)),
            lambda: default_collate(parted.__getitems__(keys)),
            args.repeats,
        )
        speeds = f"without {args.batch / without:6.1f} samples/s   with parts {args.batch / having:6.1f} samples/s"
        print(f"pipeline          {speeds}   {without / having:.0%}")


if __name__ == "__main__":
    main()
