"""Measure how costs grow with people, image size, joints, images of a data set, and loader processes.

    python shared/benchmark/growth.py --out shared/benchmark/results/growth_this_machine
    python shared/benchmark/growth.py --only joints,side

Writes OUT.json and OUT.png: log-log plots with the exponent of each line, fitted to its upper half. An exponent of 1 is
linear. Sizes are measured in interleaved rounds, in processor time; loaders in wall time.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch start their threads

import bench_dekr
import bench_grouping
import bench_ops
import cv2
import numpy as np
import torch
from bench_evaluation import make_set
from bench_pipeline import batches_of, make_records, training_set, write_pictures
from rows import print_table
from torch.utils.data import DataLoader
from tqdm import tqdm

from pose_core import machine
from pose_core.data.coco_file import read_coco_file
from pose_core.data.diagnostics import Problems
from pose_core.data.images import open_bgr
from pose_core.data.sampler import worker_init
from pose_core.evaluation import coco_keypoint_ap
from pose_core.files import write_json
from pose_core.ops import decode_heatmaps, fuse_flip, gaussian_heatmaps
from pose_core.timing import compare

LIMIT = 30.0
"""Most seconds of all rounds of a line."""


@dataclass(frozen=True)
class Line:
    """Some work at several sizes: size → what does it."""

    axis: str
    work: str
    runs: Mapping[int, Callable[[], object]]
    clock: Callable[[], float] = time.process_time


def people(folder: Path) -> Iterator[Line]:
    """Yield work on an image with many people, and on larger maps of the same people."""
    for module in (bench_ops, bench_grouping, bench_dekr):
        for axis, work, runs in module.growth():
            yield Line(axis, work, runs)


def side(folder: Path) -> Iterator[Line]:
    """Yield work that grows with an image's or a map's side; twice the side is four times the pixels: exponent 2."""
    rng = np.random.default_rng(0)
    maps = {side: torch.from_numpy(rng.random((8, 17, side, side), np.float32)) for side in (32, 64, 128, 256)}
    order = torch.arange(17)
    yield Line("side of the maps", "keypoints of maps", {n: lambda m=m: decode_heatmaps(m) for n, m in maps.items()})
    yield Line(
        "side of the maps", "flip fusion", {n: lambda m=m: fuse_flip(m, m, order, shift=True) for n, m in maps.items()}
    )
    files = {}
    for width in (320, 640, 1280, 2560, 5120):
        (folder / str(width)).mkdir()
        write_pictures(folder / str(width), 1, width, width * 3 // 4)
        files[width] = str(folder / str(width) / "000.jpg")
    matrix = np.array([[0.3, 0.1, 5], [-0.1, 0.3, 9]])

    def crop(file: str) -> np.ndarray:
        return cv2.warpAffine(open_bgr(file), matrix, (192, 256))

    yield Line("side of the image", "decode and crop a JPEG", {n: lambda f=f: crop(f) for n, f in files.items()})


def joints(folder: Path) -> Iterator[Line]:
    """Yield work that grows with the number of joints."""
    rng = np.random.default_rng(0)
    numbers = (17, 34, 68, 133)

    def targets(count: int) -> Callable[[], object]:
        points, weights = (
            torch.from_numpy(rng.uniform(0, 190, (32, count, 2)).astype(np.float32)),
            torch.ones(32, count),
        )
        return lambda: gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25))

    def keypoints(count: int) -> Callable[[], object]:
        maps = torch.from_numpy(rng.random((32, count, 64, 48), np.float32))
        return lambda: decode_heatmaps(maps)

    def evaluation(count: int) -> Callable[[], object]:
        truth, found = make_set(200, count)
        return lambda: coco_keypoint_ap(truth, found, [0.07] * count)

    yield Line("joints", "targets", {n: targets(n) for n in numbers})
    yield Line("joints", "keypoints of maps", {n: keypoints(n) for n in numbers})
    yield Line("joints", "COCO evaluation", {n: evaluation(n) for n in numbers})


def images(folder: Path) -> Iterator[Line]:
    """Yield work that grows with the number of images of a data set."""
    numbers = (1000, 10_000, 100_000)
    runs: dict[str, dict[int, Callable[[], object]]] = {"read annotations": {}, "COCO evaluation": {}}
    for number in numbers:
        truth, found = make_set(number)
        file, results = folder / f"truth_{number}.json", folder / f"found_{number}.json"
        write_json(file, truth)
        write_json(results, found)
        del truth, found
        runs["read annotations"][number] = lambda file=file: read_coco_file(file, Problems(), 17)
        runs["COCO evaluation"][number] = lambda file=file, results=results: coco_keypoint_ap(file, results)
    for work, sizes in runs.items():
        yield Line("images of a data set", work, sizes)


def workers(folder: Path) -> Iterator[Line]:
    """Yield a loader with one process for each core and more."""
    write_pictures(folder, 96)
    data = training_set(make_records(folder, (1,)))
    keys = batches_of(data, shared=False)

    def load(count: int) -> Callable[[], object]:
        loader = DataLoader(
            data, batch_sampler=keys * 4, collate_fn=data.collate, num_workers=count, worker_init_fn=worker_init,
            persistent_workers=True,
        )  # fmt: skip
        return lambda: deque(loader, maxlen=0)

    yield Line(
        "loader processes",
        f"{4 * len(keys)} batches of training samples ({machine.cores()} cores)",
        {count: load(count) for count in (1, 2, 4)},
        time.perf_counter,
    )


AXES = {"people": people, "side": side, "joints": joints, "images": images, "workers": workers}


def measured(line: Line) -> dict[int, float]:
    """Return the median seconds at each size."""
    started = time.perf_counter()
    for run in line.runs.values():
        run()
    rounds = min(max(int(LIMIT / (time.perf_counter() - started)), 3), 9)
    times = compare({str(size): run for size, run in line.runs.items()}, rounds, line.clock)
    return {size: times.seconds(str(size)) for size in line.runs}


def measured_axis(name: str) -> list[tuple[Line, dict[int, float]]]:
    """Return the lines of an axis, without what they ran: loaders of it would keep their processes."""
    with tempfile.TemporaryDirectory() as folder:
        lines = tqdm(AXES[name](Path(folder)), name, unit="line", file=sys.stderr, disable=None)
        return [(replace(line, runs={}), measured(line)) for line in lines]


def exponent(seconds: Mapping[int, float]) -> float:
    """Fit seconds ∝ size^e to the upper half of the sizes, where fixed costs matter less."""
    sizes = sorted(seconds)[-max(2, math.ceil(len(seconds) / 2)) :]
    return float(np.polyfit(np.log(sizes), np.log([seconds[size] for size in sizes]), 1)[0])


def plot(lines: list[tuple[Line, dict[int, float]]], file: Path) -> None:
    """Draw one log-log plot for each axis."""
    from matplotlib.figure import Figure

    axes = list(dict.fromkeys(line.axis for line, _ in lines))
    figure = Figure(figsize=(4.5 * min(3, len(axes)), 3.6 * math.ceil(len(axes) / 3)), layout="constrained")
    for number, axis in enumerate(axes):
        panel = figure.add_subplot(math.ceil(len(axes) / 3), min(3, len(axes)), number + 1)
        for line, seconds in lines:
            if line.axis == axis:
                label = f"{line.work}, exponent {exponent(seconds):.2f}"
                panel.plot(list(seconds), [1e3 * each for each in seconds.values()], "o-", label=label, markersize=4)
        panel.set_xscale("log")
        panel.set_yscale("log")
        sizes = sorted({size for line, seconds in lines if line.axis == axis for size in seconds})
        panel.set_xticks(sizes, [str(size) for size in sizes], fontsize=7)
        panel.set_xticks([], minor=True)
        panel.set_xlabel(axis)
        panel.set_ylabel("ms")
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=7)
    figure.suptitle(machine.processor(), fontsize=9)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="AXIS,…", help=f"these axes only: {', '.join(AXES)}")
    parser.add_argument("--out", type=Path, metavar="OUT", help="write OUT.json and OUT.png")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(AXES)
    if unknown := [name for name in names if name not in AXES]:
        parser.error(f"no axis is called {unknown[0]}; there are {', '.join(AXES)}")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    lines = [line for name in names for line in measured_axis(name)]
    rows = [
        {
            "axis": line.axis, "work": line.work, "exponent": exponent(seconds),
            "ms": ", ".join(f"{size}: {1e3 * each:.3g}" for size, each in seconds.items()),
        }
        for line, seconds in lines
    ]  # fmt: skip
    print(machine.processor())
    print_table(rows)
    if args.out:
        found = [
            {"axis": line.axis, "work": line.work, "exponent": exponent(seconds), "seconds": seconds}
            for line, seconds in lines
        ]
        content = {"machine": machine.processor(), "versions": machine.versions(), "lines": found}
        write_json(args.out.with_suffix(".json"), content, indent=1)
        plot(lines, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
