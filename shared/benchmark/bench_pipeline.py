"""Benchmark the top-down training sample, from JPEG to the network's input, against the published algorithm.

    python shared/benchmark/bench_pipeline.py [--images DIR] [--rounds 7] [--out FILE]

Without ``--images`` it makes images of COCO's usual size and bytes (640x425, about 120 kB). One thread, one process;
the loader rows use two workers. Ratios are the published time over ours in the same round.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from baselines.published_sample import PublishedDataset
from cases import Bar, Case
from paired import arguments, compare, finish
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


def published_records(records: tuple[ImageRecord, ...]) -> list[dict[str, Any]]:
    result = []
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
    return result


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


def sample_rows(folder: Path, rounds: int) -> list[dict[str, object]]:
    # In a data set of 60 images a batch has several people of most of them, in one of 56 599 almost never.
    alone, several = training_set(make_records(folder, (1,))), training_set(make_records(folder))
    published = PublishedDataset(published_records(make_records(folder, (1,))), SIZE)
    plain, shared = batches_of(alone, shared=False), batches_of(several, shared=True)

    def float_samples() -> None:
        for keys in plain:
            on_device(alone.__getitems__(keys))

    contenders = {
        # Collating is not included for the published code, but for ours.
        "published": lambda: [[published[i] for _, i in keys] for keys in plain],
        "float": float_samples,
        "uint8": lambda: [alone.__getitems__(keys) for keys in plain],
        "shared": lambda: [several.__getitems__(keys) for keys in shared],
        "decode": lambda: decode_all(alone, plain),
    }
    counts = {name: BATCH * len(shared if name == "shared" else plain) for name in contenders}
    found = compare(contenders, rounds)
    each = {name: 1e3 * found[name] / counts[name] for name in contenders}
    titles = {
        "float": ("1", "float tensor and targets out", "≥ 1.4, ≤ 1.35 decode"),
        "uint8": ("1b", "uint8 crop and joints out", "≥ 1.55, ≤ 1.25 decode"),
        "shared": ("1c", f"people of an image share a decode ({len(several) / len(alone):.2f} an image)", "≥ 3"),
    }
    return [
        {
            "#": number,
            "work": work,
            "published ms": each["published"],
            "ours ms": each[key],
            "decode ms": each["decode"],
            "ratio": each["published"] / each[key],
            "of decode": each[key] / each["decode"],
            "bar": bar,
        }
        for key, (number, work, bar) in titles.items()
    ]


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
            "sample": lambda: [several.__getitems__(each) for each in shared],
            "decode": lambda: decode_all(alone, decodes),
        },
        (Bar("sample", "decode", 0.5),),
    )


def loader_row(records: tuple[ImageRecord, ...], rounds: int, workers: int = 2) -> dict[str, object]:
    """Compare samples from a DataLoader; workers persist between rounds, as in training."""
    many = 4 * records
    published = PublishedDataset(published_records(many), SIZE)
    ours = TopDownDataset(many, SKELETONS["coco17"], input_size=SIZE, augment=AUGMENT)
    keys = batches_of(ours, shared=False)
    settings: dict[str, Any] = {"num_workers": workers, "worker_init_fn": worker_init, "persistent_workers": True}
    theirs = DataLoader(published, batch_sampler=[[i for _, i in batch] for batch in keys], **settings)
    mine = DataLoader(ours, batch_sampler=keys, collate_fn=ours.collate, **settings)
    found = compare({"published": lambda: deque(theirs, maxlen=0), "ours": lambda: deque(mine, maxlen=0)}, rounds)
    count = len(keys) * BATCH
    return {
        "#": "10",
        "work": f"loader, {workers} workers: {count / found['published']:.0f} → {count / found['ours']:.0f} samples/s",
        "published ms": 1e3 * found["published"] / count,
        "ours ms": 1e3 * found["ours"] / count,
        "decode ms": "",
        "ratio": found["ratio"],
        "of decode": "",
        "bar": "≥ 1.45",
    }


def large_rows(folder: Path, rounds: int) -> list[dict[str, object]]:
    """Compare on images of MPII's usual size, where many crops downsample by 2 or more."""
    write_pictures(folder, 24, 1280, 720)
    records = make_records(folder)
    published = PublishedDataset(published_records(records), SIZE)
    whole, reduced = training_set(records), training_set(records, reduced=True)
    batches = batches_of(whole, shared=False)
    contenders = {
        "published": lambda: [[published[i] for _, i in keys] for keys in batches],
        "whole": lambda: [whole.__getitems__(keys) for keys in batches],
        "reduced": lambda: [reduced.__getitems__(keys) for keys in batches],
    }
    found = compare(contenders, rounds)
    count = len(batches) * BATCH
    return [
        {
            "#": "1b",
            "work": f"1280x720 pictures, {work}",
            "published ms": 1e3 * found["published"] / count,
            "ours ms": 1e3 * found[key] / count,
            "decode ms": "",
            "ratio": found["ratios"][f"published/{key}"],
            "of decode": "",
            "bar": "",
        }
        for key, work in (("whole", "decoded whole"), ("reduced", "train.reduced_decode"))
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=Path, metavar="DIR", help="a folder of .jpg files to use instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.images or Path(temporary)
        if args.images is None:
            write_pictures(folder, 60)
        records = make_records(folder)
        bytes_each = np.mean([Path(record.source).stat().st_size for record in records])
        print(f"{len(records)} images of {bytes_each / 1024:.0f} kB, {sum(len(r.persons) for r in records)} people")
        rows = sample_rows(folder, args.rounds)
        rows.append(loader_row(records, args.rounds))
    with tempfile.TemporaryDirectory() as temporary:
        rows += large_rows(Path(temporary), args.rounds)
    finish(rows, args.out)


if __name__ == "__main__":
    main()
