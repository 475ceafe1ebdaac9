"""Benchmark pasting against a loop over parts, and the training loader with parts against the one without.

    python shared/benchmark/run.py --only paste
    python shared/benchmark/run.py --only composite,paste_loaders

The loop starts from ready-made canvases; ours starts from the loader's output, parts without canvases. The pool is made
of synthetic people, the images are synthetic JPEGs of 640 x 425, which decode fast: on larger images the parts' share
is smaller. This small pool is kept in memory; the loader is also measured without that, as with a pool that is too
large. Batches are freed one after the other, as in training. A loader without workers is timed in processor time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cases import Bar, Case
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
from pose_core.engine.interfaces import TrainingSet
from pose_core.ops import paste
from pose_core.ops.pasting import unpack
from pose_core.plugins.networks import build_network
from pose_core.synthetic import write_dataset

IMAGES, BATCH, SIDE = 128, 32, 256


def loop(images: Tensor, parts: Tensor, masks: Tensor, thetas: Tensor) -> Tensor:
    """Composite as published: for every slot a grid, sampling of parts and masks, and the composition."""
    x = images
    for slot in range(parts.shape[1]):
        grid = affine_grid(thetas[:, slot], [*parts[:, slot].shape], align_corners=True)
        part = grid_sample(parts[:, slot], grid, align_corners=True)
        mask = grid_sample(masks[:, slot], grid, align_corners=True)
        x = x * (1 - mask) + part * mask
    return x


def training_set(folder: Path, slots: int) -> TrainingSet[Any]:
    """Return synthetic people to train on with ``slots`` parts each; with none, without a pool."""
    config = AsdaConfig.model_validate(
        {
            "method": "asda",
            "data": {"layout": "mpii", "root": str(folder / "people"), "train": "train", "skeleton": "mpii16"},
            "model": {"name": "hrnet_w32", "input_size": [SIDE, SIDE]},
            "parts": {"annotations": str(folder / "pool/part_anns.json"), "counts": [slots or 1]},
            "generator": {"placement": "random" if slots else "none"},
        }
    )
    return AsdaTask(config, build_network).training_set()


def batches(data: TrainingSet[Any], workers: int) -> Iterator[PartBatch]:
    """Return the batches of an epoch, loaded as in training."""
    keys = epoch_batches(len(data), 0, 0, BATCH, 0, 1)
    return iter(
        DataLoader(
            data, batch_sampler=keys, collate_fn=data.collate, num_workers=workers,
            worker_init_fn=worker_init, prefetch_factor=4 if workers else None,
        )
    )  # fmt: skip


def loading(sets: Mapping[str, TrainingSet[Any]], workers: int) -> dict[str, Callable[[], object]]:
    """Return what loads an epoch of each training set."""

    def load(data: TrainingSet[Any]) -> None:
        deque(batches(data, workers), maxlen=0)

    return {name: partial(load, data) for name, data in sets.items()}


def cases(folder: Path) -> Iterator[Case]:
    """Yield the bar of training samples with parts: the time without them is at least a share of that with them."""
    write_scene(folder)
    sets = {name: training_set(folder, slots) for name, slots in (("without", 0), ("with 4 parts", 4))}
    yield Case(
        "asda_paste",
        f"{IMAGES} training samples, JPEGs of 640×425 to crops of 256×256",
        loading(sets, 0),
        (Bar("without", "with 4 parts", 0.9, at_most=False),),
    )


def loaders(folder: Path) -> Iterator[Case]:
    """Yield the same with and without workers, with one and four parts, kept in memory and read anew."""
    write_scene(folder)
    plain = training_set(folder, 0)
    for workers in (0, 2):
        for slots in (1, 4):
            parted, anew = training_set(folder, slots), training_set(folder, slots)
            assert isinstance(anew, PartedDataset)
            anew.sampler.pool.kept.clear()
            yield Case(
                f"loader with parts, {slots} each, {workers} workers",
                f"{IMAGES} training samples, JPEGs of 640×425 to crops of 256×256",
                loading({"without": plain, "with": parted, "read anew": anew}, workers),
                (Bar("without", "with", 0.9, at_most=False), Bar("without", "read anew", 0.75, at_most=False)),
                time.perf_counter if workers else time.process_time,
            )


def composite(folder: Path) -> Iterator[Case]:
    """Yield the composite alone, forward and with the gradient of the parts' placement; notes tell a batch's memory."""
    write_scene(folder)
    batch = next(batches(training_set(folder, 4), 0))
    images, texels, boxes = on_device(batch)
    parts, masks = unpack(texels, boxes, (SIDE, SIDE))
    torch.manual_seed(0)
    thetas = placements_to_thetas(random_placements(len(images), images.device), batch.part_types)

    def learn(paste_at: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = thetas.clone().requires_grad_()
        paste_at(leaf).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    def ours(where: Tensor) -> Tensor:
        return paste(images, texels, boxes, where, align_corners=True)

    published = partial(loop, images, parts, masks)
    assert (ours(thetas) - published(thetas)).abs().max() < 1e-3
    expected = learn(published)
    assert (learn(ours) - expected).abs().max() < 1e-2 * expected.abs().max()
    packed = sum(getattr(batch, name).nbytes for name in ("part_pixels", "part_masks", "part_boxes", "part_types"))
    notes = {"canvases MB": batch.part_types.numel() * SIDE**2 * (3 + 4) / 1e6, "ours MB": packed / 1e6}
    for word, run in (("forward", lambda each: each(thetas)), ("forward and backward", learn)):
        yield Case(
            f"composite, {word}",
            f"{len(images)} crops of {SIDE}² with {boxes.shape[1]} parts",
            {"loop": partial(run, published), "ours": partial(run, ours)},
            (Bar("loop", "ours", 3, at_most=False),),
            notes=notes,
        )


def write_scene(folder: Path) -> None:
    """Write synthetic people and a pool of parts."""
    write_dataset(folder / "people", "mpii", IMAGES, (1, 1), 0, val_images=0, split="train")
    write_pool(synthetic_people(folder / "scratch", 40, 1), folder / "pool", 200, 0.8)
