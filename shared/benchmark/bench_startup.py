"""Measure the start from a COCO-size annotation file to the first training batch: seconds, and memory per process.

python shared/benchmark/bench_startup.py [--images 118000] [--people 150000] [--workers 2] [--out results.json]

The images are links to a few synthetic ones; the annotations are as many as in COCO's train2017.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from rows import finish
from torch.utils.data import DataLoader

from pose_core.config import DataConfig
from pose_core.data.sampler import epoch_batches, worker_init
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import AugmentConfig
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.person_table import read_table


def make_set(folder: Path, images: int, people: int) -> None:
    """Write a COCO folder of ``images`` links to a few drawn ones and ``people`` annotations."""
    write_dataset(folder, layout="coco", images=8, val_images=1, people=(1, 1), size=(640, 480))
    file = folder / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(file.read_text())
    drawn, example = content["images"], content["annotations"][0]
    place = folder / "images" / "train2017"
    records = []
    for number in range(1, images + 1):
        source = drawn[number % len(drawn)]
        name = f"{900_000_000 + number:012d}.jpg"
        os.link(place / source["file_name"], place / name)
        records.append({**source, "id": 900_000_000 + number, "file_name": name})
    # As long as COCO's: the drawn outline is exact, and ten times longer.
    example["segmentation"] = [polygon[:60] for polygon in example["segmentation"][:1]]
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(0, images, people))
    entries = [
        {**example, "id": number, "image_id": records[owner]["id"]} for number, owner in enumerate(owners.tolist(), 1)
    ]
    file.write_text(json.dumps({**content, "images": records, "annotations": entries}))


def megabytes(process: int, field: str) -> float:
    """Return a field of a process's memory statistics, in megabytes."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--people", type=int, default=150_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_set(folder, args.images, args.people)
        size = (folder / "annotations" / "person_keypoints_train2017.json").stat().st_size / 2**20
        rows = []
        os.environ["POSE_HOME"] = str(folder / "home")
        for start in ("first start", "second start, from the cache"):
            began = time.perf_counter()
            config = DataConfig(root=str(folder))
            table, _ = read_table(config, config.train, 192 / 256)
            read = time.perf_counter()
            dataset = TopDownDataset(table, get_skeleton("coco17"), input_size=(192, 256), augment=AugmentConfig())
            del table
            batches = epoch_batches(len(dataset), epoch=0, seed=0, batch_size=32)
            loader = iter(
                DataLoader(
                    dataset,
                    batch_sampler=batches,
                    collate_fn=dataset.collate,
                    num_workers=args.workers,
                    worker_init_fn=worker_init,
                )
            )
            next(loader)
            first = time.perf_counter()
            workers = [process.pid for process in loader._workers] if args.workers else [os.getpid()]
            rows.append(
                {
                    "start": start,
                    "annotation file MB": size,
                    "read s": read - began,
                    "first batch s": first - read,
                    "all s": first - began,
                    "this process MB (PSS)": megabytes(os.getpid(), "Pss"),
                    "a worker MB of its own": max(megabytes(pid, "Private_Dirty") for pid in workers),
                    "a worker MB (PSS)": max(megabytes(pid, "Pss") for pid in workers),
                }
            )
            del loader, dataset
        finish(rows, args.out)


if __name__ == "__main__":
    main()
