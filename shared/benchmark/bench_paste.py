"""Benchmark pasting against a loop over parts, and the training loader with parts against the one without.

    python shared/benchmark/bench_paste.py [--batch 32] [--side 256] [--rounds 7] [--out results.json]

Both sides of a row run alternately in one process, on one thread (except the loader's workers). The loop starts from
ready-made canvases; ours starts from the loader's output, parts without canvases. The pool is made of synthetic people,
the images are synthetic JPEGs of 640 x 425, which decode fast: on larger images the parts' share is smaller. This small
pool is kept in memory; the loader is also measured without that, as with a pool that is too large. Batches are freed
one after the other, as in training. A loader without workers is timed in processor time.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from cases import Bar, Case
from paired import arguments, compare, finish
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torch.utils.data import DataLoader

from pose_asda.adversary import on_device
from pose_asda.build_parts import synthetic_people, write_pool
from pose_asda.config import AsdaConfig
from pose_asda.dataset import PartBatch, PartedDataset
from pose_asda.generator import placements_to_thetas, random_placements
from pose_asda.task import AsdaTask
from pose_core.data.sampler import epoch_batches, worker_init
from pose_core.engine.distributed import choose_device
from pose_core.engine.interfaces import TrainingSet
from pose_core.ops import paste
from pose_core.ops.pasting import unpack
from pose_core.plugins.networks import build_network
from pose_core.synthetic import write_dataset

IMAGES = 128


def loop(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor) -> Tensor:
    """Composite as published: for every slot a grid, sampling of parts and masks, and the composition."""
    x = images
    for slot in range(parts.shape[1]):
        grid = affine_grid(thetas[:, slot], [*parts[:, slot].shape], align_corners=True)
        part = grid_sample(parts[:, slot], grid, align_corners=True)
        mask = grid_sample(masks[:, slot], grid, align_corners=True)
        x = x * (1 - mask) + part * mask
    return x


def experiment(folder: Path, side: int, slots: int) -> AsdaConfig:
    """Return the config of training on synthetic people with ``slots`` parts each; with none, without a pool."""
    return AsdaConfig.model_validate(
        {
            "method": "asda",
            "data": {"layout": "mpii", "root": str(folder / "people"), "train": "train", "skeleton": "mpii16"},
            "model": {"name": "hrnet_w32", "input_size": [side, side]},
            "parts": {"annotations": str(folder / "pool/part_anns.json"), "counts": [slots or 1]},
            "generator": {"placement": "random" if slots else "none"},
        }
    )


def batches(data: TrainingSet[Any], size: int, workers: int) -> Iterator[PartBatch]:
    """Return the batches of an epoch, loaded as in training."""
    keys = epoch_batches(len(data), 0, 0, size, 0, 1)
    return iter(
        DataLoader(
            data, batch_sampler=keys, collate_fn=data.collate, num_workers=workers,
            worker_init_fn=worker_init, prefetch_factor=4 if workers else None,
        )
    )  # fmt: skip


def pasting(batch: PartBatch, device: torch.device, rounds: int) -> list[dict[str, object]]:
    """Compare the composite alone, forward and with the gradient of the parts' placement."""
    images, texels, boxes = on_device(batch.to(device))
    count, slots, _ = boxes.shape
    side = images.shape[2]
    parts, masks = unpack(texels, boxes, (side, side))
    torch.manual_seed(0)
    thetas = placements_to_thetas(random_placements(count, device), batch.part_types.to(device))

    def timed(run: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return call

    def learn(composite: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = thetas.clone().requires_grad_()
        composite(leaf).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    def published(where: Tensor) -> Tensor:
        return loop(images, parts, masks, where)

    def ours(where: Tensor) -> Tensor:
        return paste(images, texels, boxes, where, align_corners=True)

    difference = float((ours(thetas) - published(thetas)).abs().max())
    away = learn(ours) - learn(published)
    turn = float(away.abs().max() / learn(published).abs().max())
    work = f"composite of {count} x {side}² with {slots} parts"
    rows: list[dict[str, object]] = []
    for name, contenders, error in (
        ("forward", {"loop": lambda: published(thetas), "ours": lambda: ours(thetas)}, difference),
        ("forward and backward", {"loop": lambda: learn(published), "ours": lambda: learn(ours)}, turn),
    ):
        found = compare({key: timed(run) for key, run in contenders.items()}, rounds)
        rows.append(
            {
                "work": f"{work}, {name}",
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu, one thread",
                "loop ms": found["loop"] * 1e3,
                "ours ms": found["ours"] * 1e3,
                "ratio": found["ratio"],
                "largest difference": error,
            }
        )
    return rows


def loading(folder: Path, size: int, side: int, rounds: int) -> list[dict[str, object]]:
    """Compare the loader with and without parts, in samples per second."""
    rows: list[dict[str, object]] = []
    plain = AsdaTask(experiment(folder, side, 0), build_network).training_set()
    for workers in (0, 2):
        for slots in (1, 4):
            parted, anew = (AsdaTask(experiment(folder, side, slots), build_network).training_set() for _ in range(2))
            assert isinstance(anew, PartedDataset)
            anew.sampler.pool.kept.clear()
            sets = {"without": plain, "with": parted, "read anew": anew}
            found = compare(
                {
                    name: lambda data=data, workers=workers: deque(batches(data, size, workers), maxlen=0)
                    for name, data in sets.items()
                },
                rounds,
                time.perf_counter if workers else time.process_time,
            )
            rows.append(
                {
                    "work": f"loader, {slots} part(s), {workers} workers",
                    "without /s": IMAGES / found["without"],
                    "with /s": IMAGES / found["with"],
                    "keeps": found["ratios"]["without/with"],
                    "keeps, parts read anew": found["ratios"]["without/read anew"],
                    "bar": "≥ 0.9" if slots == 4 else "-",
                }
            )
    return rows


def cases(folder: Path) -> Iterator[Case]:
    """Yield the bar of training samples with parts: the time without them is at least a share of that with them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    write_scene(folder)
    sets = {
        name: AsdaTask(experiment(folder, 256, slots), build_network).training_set()
        for name, slots in (("without", 0), ("with 4 parts", 4))
    }
    yield Case(
        "asda_paste",
        f"{IMAGES} training samples, JPEGs of 640×425 to crops of 256×256",
        {name: lambda data=data: deque(batches(data, 32, 0), maxlen=0) for name, data in sets.items()},
        (Bar("without", "with 4 parts", 0.9, at_most=False),),
    )


def write_scene(folder: Path) -> None:
    """Write synthetic people and a pool of parts."""
    write_dataset(folder / "people", "mpii", IMAGES, (1, 1), 0, val_images=0, split="train")
    write_pool(synthetic_people(folder / "scratch", 40, 1), folder / "pool", 200, 0.8)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--side", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_scene(folder)
        batch = next(batches(AsdaTask(experiment(folder, args.side, 4), build_network).training_set(), args.batch, 0))
        rows = pasting(batch, choose_device("auto"), args.rounds)
        packed = sum(getattr(batch, name).nbytes for name in ("part_pixels", "part_masks", "part_boxes", "part_types"))
        dense = batch.part_types.numel() * args.side**2 * (3 + 4)
        size = {"canvases MB": dense / 1e6, "ours MB": packed / 1e6, "ratio": dense / packed}
        rows.append({"work": f"parts of a batch of {args.batch}, 4 each, from the loader", **size})
        rows += loading(folder, args.batch, args.side, args.rounds)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    finish([{column: row.get(column, "") for column in columns} for row in rows], args.out)


if __name__ == "__main__":
    main()
