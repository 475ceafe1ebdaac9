"""What predicting in shards costs the processor for each picture, and what it gives on 8 GPUs × 16 nodes.

    python shared/benchmark/bench_predict.py [--out FILE.json]

Measured here, on one thread: decoding of 640x480 JPEGs, and the work of a process's main thread: the crop of a person,
the row, and the bookkeeping of a shard, with a predictor that costs nothing. The floor is the decoding alone. What only
a cluster can show is assumed and printed: the share of the computed limits of an H200 that networks reach, cores,
network and disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from rows import print_table
from scaling_model import Cluster, PredictionPieces, Storage, prediction_limits, prediction_seconds

from pose_core import timing
from pose_core.engine.interfaces import DetectedImage
from pose_core.geometry import Crop, box_to_center_scale
from pose_core.inference.shard_inputs import Unit, read_picture
from pose_core.inference.shards import plan_shards, predict_shards
from pose_core.machine import processor
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.topdown.detectors import whole_image

PICTURES = 256
LIMITS = {"SimpleBaseline-50": 72_800, "HRNet-w32": 51_700, "LPN-50": 122_000, "LPN-18": 212_000}
"""Computed limits of an H200, crops of 256x192 per second, in bfloat16."""
START = 20.0


class Free:
    """A predictor that cuts out people, and says that all their joints are in the middle."""

    skeleton = SKELETONS["coco17"]

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for key, image, boxes, scores in images:
            for box in boxes:
                cut(image, box)
            points = np.repeat((boxes[:, :2] + boxes[:, 2:] / 2)[:, None], 17, 1)
            yield key, Poses(points, np.ones(points.shape[:2]), scores, self.skeleton, boxes)


def cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    center, scale = box_to_center_scale(box, 192 / 256)
    crop = Crop(center, scale, (192, 256), convention="shift")
    return cv2.warpAffine(image, crop.matrix, crop.size, flags=cv2.INTER_LINEAR)


def write_pictures(folder: Path) -> None:
    """Write pictures as detailed as photos."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(PICTURES):
        coarse = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        noise = random.normal(0, 6, (480, 640, 3))
        image = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + noise
        cv2.imwrite(
            str(folder / f"{number:03d}.jpg"), image.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
        )


def measure(folder: Path, rounds: int) -> tuple[dict[str, dict[str, float]], PredictionPieces]:
    """Return rows of the table of costs, and the pieces for the model."""
    write_pictures(folder / "in")
    files = sorted((folder / "in").iterdir())
    recipe: Any = SimpleNamespace(boxes=None, settings=lambda: {"weights": "none"})
    free: Any = Free()
    counter = iter(range(10**6))

    def decode() -> None:
        for file in files:
            read_picture(Unit(str(file)), folder, stored=False)

    def whole(kind: str) -> None:
        plan = plan_shards(
            recipe, [str(folder / "in")], folder / f"out-{next(counter)}", kind=kind, shard_size=PICTURES
        )
        predict_shards(plan, [0], free, whole_image)

    ways = {"decode": decode, "jsonl": lambda: whole("jsonl"), "parquet": lambda: whole("parquet")}
    times = timing.compare(ways, rounds, time.process_time)
    table = {}
    for name in ways:
        spread = times.ratio(name, "decode")
        table[name] = {
            "ms a picture": 1e3 * times.seconds(name) / PICTURES,
            "× decode": spread.median, "low": spread.low, "high": spread.high,
        }  # fmt: skip
    (shard,) = (folder / "out-0" / "shards").iterdir()
    decode_seconds = times.seconds("decode") / PICTURES
    pieces = PredictionPieces(
        decode=decode_seconds,
        host=max(times.seconds("jsonl") / PICTURES - decode_seconds, 1e-6),
        device=0.0,
        read=sum(file.stat().st_size for file in files) / PICTURES,
        written=shard.stat().st_size / PICTURES,
        start=START,
    )
    return table, pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--share", type=float, default=0.3, help="share of an H200's limit that a network reaches")
    parser.add_argument("--launch-ms", type=float, default=0.1, help="launches of a crop's batch, by the main thread")
    parser.add_argument("--detector-ms", type=float, default=8.0, help="launches of a detector, one picture at a time")
    parser.add_argument("--pictures", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        table, pieces = measure(Path(folder), args.rounds)
    print(processor())
    print_table([{"way": name, **row} for name, row in table.items()])
    cluster, storage = Cluster(), Storage()
    print(
        f"\nassumed: {cluster.devices_per_node} GPUs and {cluster.cores_per_node} cores a node, network "
        f"{storage.node / 1e9:g} GB/s a node, shared disk {storage.shared / 1e9:g} GB/s, {args.share:.0%} of an H200's "
        f"limits, flip test (two passes), one person a picture with its box given, {args.launch_ms:g} ms of launches a "
        f"picture, {args.detector_ms:g} more where a detector finds people, {START:g} s to start, "
        f"shards of 1,000\nmeasured: decoding {1e3 * pieces.decode:.2f} ms, main thread "
        f"{1e3 * pieces.host:.2f} ms, {pieces.read / 1e3:.0f} kB read and {pieces.written / 1e3:.1f} kB written a "
        "picture\n"
    )
    rows: list[dict[str, object]] = []
    found = {f"{name}, people found": (LIMITS[name], args.detector_ms) for name in ("HRNet-w32",)}
    for network, (limit, finding) in ({name: (limit, 0.0) for name, limit in LIMITS.items()} | found).items():
        host = pieces.host + (args.launch_ms + finding) / 1e3
        each = replace(pieces, host=host, device=2 / (args.share * limit))
        for nodes in (1, 16):
            for processes in (8, 16, 32):
                limits = prediction_limits(each, cluster, storage, nodes, processes)
                first, second = sorted(limits, key=lambda name: limits[name])[:2]
                seconds = prediction_seconds(each, cluster, storage, nodes, processes, args.pictures)
                rows.append(
                    {
                        "network": network, "nodes × GPUs": f"{nodes} × 8", "processes a node": processes,
                        "pictures/s": round(limits[first]), "limited by": first,
                        "next": f"{second}, {round(limits[second])}/s",
                        f"{args.pictures / 1e6:g} million, min": round(seconds / 60, 1),
                    }
                )  # fmt: skip
    print_table(rows)
    if args.out:
        content = {"machine": processor(), "costs": table, "pieces": vars(pieces), "assumed": vars(args), "rows": rows}
        args.out.write_text(json.dumps(content, indent=1, default=str))


if __name__ == "__main__":
    main()
