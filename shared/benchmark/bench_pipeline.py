"""Benchmark the top-down training sample, from JPEG to the network's input.

    python shared/benchmark/run.py --only samples
    python shared/benchmark/run.py --only samples_published

The floor is one decode of the image; samples_published compares with the published algorithm. The images are of COCO's
usual size and bytes (640x425, about 120 kB), and of MPII's size. One thread, one process; the loader uses two workers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from baselines.published_sample import PublishedDataset
from cases import Bar, Case
from torch.utils.data import DataLoader

from pose_core.data.images import open_bgr
from pose_core.data.sampler import epoch_batches, worker_init
from pose_core.geometry import box_to_center_scale
from pose_core.ops.heatmaps import gaussian_heatmaps
from pose_core.ops.normalizing import normalize
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person
from pose_core.topdown.config import AugmentConfig
from pose_core.topdown.dataset import CropBatch, TopDownDataset

SIZE = (192, 256)
BATCH = 32
# COCO's train2017 has 149 813 people to train on in 56 599 images: 2.65 per image.
PEOPLE = (1, 2, 3, 4, 3, 3)
AUGMENT = AugmentConfig(flip=0.5, scale=0.35, rotation=45, half_body=0.3)


def write_pictures(folder: Path, count: int, width: int = 640, height: int = 425) -> None:
    """Write noise in octaves, which compresses about as badly as a photograph."""
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((height, width, 3))
        for octave in range(3, 10):
            small = rng.normal(0, 1, (min(2**octave, height), min(2**octave, width), 3))
            picture += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * 60 / 1.42 ** (octave - 3)
        pixels = np.clip(picture + 128, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])


def make_records(folder: Path, people: Sequence[int] = PEOPLE) -> tuple[ImageRecord, ...]:
    """Make people of COCO-like sizes with about twelve labeled joints, as many in each image as ``people`` says."""
    rng = np.random.default_rng(1)
    records, identity = [], 0
    for number, file in enumerate(sorted(folder.glob("*.jpg"))):
        height, width = cv2.imread(str(file)).shape[:2]
        persons = []
        for _ in range(people[number % len(people)]):
            h = rng.uniform(80, 0.9 * height)
            w = h * rng.uniform(0.3, 0.8)
            x, y = rng.uniform(0, max(width - w, 1)), rng.uniform(0, max(height - h, 1))
            joints = np.column_stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17), rng.random(17) < 0.7])
            persons.append(Person(joints.astype(np.float32), identity, box=(x, y, w, h), area=w * h / 2))
            identity += 1
        records.append(ImageRecord(number, str(file), tuple(persons), width, height))
    return tuple(records)


def published_set(records: tuple[ImageRecord, ...]) -> PublishedDataset:
    """Return the published data set of the same people."""
    result: list[dict[str, Any]] = []
    for record in records:
        for person in record.persons:
            assert person.box is not None
            center, scale = box_to_center_scale(person.box, SIZE[0] / SIZE[1])
            joints, visible = np.zeros((17, 3)), np.zeros((17, 3))
            joints[:, :2], visible[:, :2] = person.joints[:, :2], person.joints[:, 2:]
            result.append(
                {
                    "image": record.source,
                    "center": center,
                    "scale": scale,
                    "joints_3d": joints,
                    "joints_3d_vis": visible,
                }
            )
    return PublishedDataset(result, SIZE)


def on_device(batch: CropBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the device's part: the normalized images, the targets, their weights."""
    targets, weights = gaussian_heatmaps(
        batch.joints[..., :2], batch.joints[..., 2], (SIZE[0] // 4, SIZE[1] // 4), 2.0, ratio=(0.25, 0.25)
    )
    return normalize(batch.images), targets, weights


def batches_of(dataset: TopDownDataset, *, shared: bool) -> list[list[tuple[int, int]]]:
    groups = dataset.groups if shared else None
    return list(epoch_batches(len(dataset), 0, 0, BATCH, groups=groups, drop_last=True))


def training_set(records: tuple[ImageRecord, ...], *, reduced: bool = False) -> TopDownDataset:
    return TopDownDataset(records, SKELETONS["coco17"], input_size=SIZE, augment=AUGMENT, reduced_decode=reduced)


def decode_all(data: TopDownDataset, batches: list[list[tuple[int, int]]]) -> None:
    for keys in batches:
        for _, index in keys:
            open_bgr(data.source(index))


def cases(folder: Path) -> Iterator[Case]:
    """Yield the training sample in units of one decode of its image, alone and with people who share one."""
    write_pictures(folder, BATCH)
    alone = training_set(make_records(folder, (1,)))
    (keys,) = plain = batches_of(alone, shared=False)
    images = [open_bgr(record.source) for record in make_records(folder)]
    matrices = [alone.crop(*key, images[key[1]].shape[1]).matrix for key in keys]
    crop = np.empty((SIZE[1], SIZE[0], 3), np.uint8)

    def warp() -> None:
        for (_, index), matrix in zip(keys, matrices, strict=True):
            cv2.warpAffine(images[index], matrix, SIZE, dst=crop)

    yield Case(
        "training sample",
        f"{BATCH} samples, 640×425 JPEG → 256×192 crop; the warp alone for comparison",
        {"sample": lambda: alone.__getitems__(keys), "decode": lambda: decode_all(alone, plain), "OpenCV's warp": warp},
        (Bar("sample", "decode", 1.25), Bar("OpenCV's warp", "decode", 0.2)),
    )
    several = training_set(make_records(folder))
    shared = batches_of(several, shared=True)
    number = len(shared) * BATCH
    decodes = [[(0, index % len(images)) for index in range(number)]]
    yield Case(
        "training sample, shared decode",
        f"{number} people of {len(images)} images",
        {
            "sample": partial(ours, several, shared),
            "decode": lambda: decode_all(alone, decodes),
        },
        (Bar("sample", "decode", 0.5),),
    )


def published(data: PublishedDataset, batches: list[list[tuple[int, int]]]) -> list[list[object]]:
    """Make the published samples, without collating them."""
    return [[data[index] for _, index in keys] for keys in batches]


def ours(data: TopDownDataset, batches: list[list[tuple[int, int]]]) -> list[CropBatch]:
    """Make batches."""
    return [data.__getitems__(keys) for keys in batches]


def published_cases(folder: Path) -> Iterator[Case]:
    """Yield training samples against the published ones: alone, with shared decodes, of large images, from a loader."""
    small, large = folder / "small", folder / "large"
    for place, count, size in ((small, 60, (640, 425)), (large, 24, (1280, 720))):
        place.mkdir()
        write_pictures(place, count, *size)
    # In a data set of 60 images a batch has several people of most of them, in one of 56 599 almost never.
    records = make_records(small, (1,))
    data, theirs = training_set(records), published_set(records)
    plain = batches_of(data, shared=False)
    yield Case(
        "published sample",
        f"{BATCH * len(plain)} samples, 640×425: 8-bit crops and joints; floats and targets",
        {
            "published": partial(published, theirs, plain),
            "ours": partial(ours, data, plain),
            "ours with targets": lambda: [on_device(batch) for batch in ours(data, plain)],
        },
        (Bar("published", "ours", 1.55, at_most=False), Bar("published", "ours with targets", 1.4, at_most=False)),
    )
    records = make_records(small)
    several = training_set(records)
    shared = batches_of(several, shared=True)
    yield Case(
        "published sample, shared decode",
        f"{BATCH * len(shared)} people of {len(records)} images",
        {"published": partial(published, published_set(records), shared), "ours": partial(ours, several, shared)},
        (Bar("published", "ours", 3, at_most=False),),
    )
    many = training_set(4 * records)
    keys = batches_of(many, shared=False)
    loaders = {
        "published": loader(published_set(4 * records), [[i for _, i in batch] for batch in keys], None),
        "ours": loader(many, keys, many.collate),
    }
    yield Case(
        "published sample, loader",
        f"{BATCH * len(keys)} samples from a loader with 2 workers",
        {name: partial(deque, each, maxlen=0) for name, each in loaders.items()},
        (Bar("published", "ours", 1.45, at_most=False),),
        time.perf_counter,
    )
    records = make_records(large)
    whole, reduced = training_set(records), training_set(records, reduced=True)
    keys = batches_of(whole, shared=False)
    yield Case(
        "published sample, large images",
        f"{BATCH * len(keys)} samples, 1280×720: decoded whole; with train.reduced_decode",
        {
            "published": partial(published, published_set(records), keys),
            "ours": partial(ours, whole, keys),
            "ours reduced": partial(ours, reduced, keys),
        },
        (Bar("published", "ours", 2, at_most=False), Bar("published", "ours reduced", 2, at_most=False)),
    )


def loader(data: Any, keys: list[Any], collate: Any) -> DataLoader[Any]:
    """Return a loader whose workers persist between rounds, as in training."""
    return DataLoader(
        data, batch_sampler=keys, collate_fn=collate, num_workers=2, worker_init_fn=worker_init, persistent_workers=True
    )
