"""Benchmark targets, decoding, flip fusion and suppression on one core: against a floor, and the published algorithms.

python shared/benchmark/bench_ops.py [--rounds 7] [--out results.json]

The floor is what any implementation must do, with the same data in the same rounds: write the targets once, read the
maps once (the faster of numpy's and PyTorch's float32 sums), add two maps into a third. Buffers of floors are reused.
Times are processor times. "of floor" has the 95 % interval of the median over rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from baselines import published_heatmaps, published_oks_nms
from paired import arguments, finish, print_table

from pose_core.geometry import apply_affines
from pose_core.ops import fuse_flip, gaussian_heatmaps, oks_nms
from pose_core.ops.dispatch import paths
from pose_core.skeleton import SKELETONS
from pose_core.timing import Spread, Times, compare
from pose_core.topdown.codec import HeatmapCodec

COCO = SKELETONS["coco17"]
SIGMAS = np.array(COCO.sigmas)


FLOORS = ("floor", "other floor")


def measure(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """Compare ours with the floors, and apart from them with the published, which would leave them a cold cache."""
    published = {name: contenders[name] for name in ("published", "ours") if name in contenders}
    others = {name: run for name, run in contenders.items() if name != "published"}
    against = compare(published, rounds, time.process_time)
    floors = compare(others, rounds, time.process_time) if len(others) > 1 else against
    renamed = {name: seconds for name, seconds in floors.rounds.items() if name != "ours"}
    return Times({**against.rounds, **renamed, "ours next to floors": floors.rounds["ours"]})


def shown(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def row(number: str, work: str, found: Times, error: float, bar: str) -> dict[str, object]:
    ratio = found.ratio("published", "ours")
    floor = min((name for name in FLOORS if name in found.rounds), key=found.seconds, default=None)
    return {
        "#": number, "work": work,
        "floor ms": 1e3 * found.seconds(floor) if floor else "-",
        "published ms": 1e3 * found.seconds("published"), "ours ms": 1e3 * found.seconds("ours next to floors"),
        "of floor": shown(found.ratio("ours next to floors", floor)) if floor else "-",
        "ratio": ratio.median, "ratio interval": f"{ratio.low:.1f} to {ratio.high:.1f}",
        "largest difference": error, "bar": bar,
    }  # fmt: skip


def targets(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    joints = rng.uniform(-10, 200, (32, 17, 2)).astype(np.float32) * np.array([1, 1.3], np.float32)
    visible = (rng.random((32, 17)) > 0.15).astype(np.float32)
    points, weights = torch.from_numpy(joints), torch.from_numpy(visible)
    buffer = torch.empty(32, 17, 64, 48)
    found = measure(
        {
            "published": lambda: published_heatmaps.gaussian_heatmaps(joints, visible, (48, 64), 2, 4.0),
            "ours": lambda: gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25)),
            "floor": lambda: buffer.fill_(0),
        },
        rounds,
    )
    expected = published_heatmaps.gaussian_heatmaps(joints, visible, (48, 64), 2, 4.0)
    maps, _ = gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25))
    error = float(np.abs(maps.numpy() - expected).max())
    return row("2", "heatmap targets 32×17×64×48", found, error, "≤ 4 of floor; within 1e-7")


def keypoints(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(1)
    heatmaps = rng.normal(0, 0.05, (32, 17, 64, 48)).astype(np.float32)
    heatmaps[np.arange(32)[:, None], np.arange(17), rng.integers(0, 64, (32, 17)), rng.integers(0, 48, (32, 17))] = 1
    # Heatmap → image for the baseline; ours maps from input pixels.
    matrices = np.concatenate([np.tile(np.eye(2) * 3, (32, 1, 1)), rng.uniform(0, 300, (32, 2, 1))], 2)
    codec = HeatmapCodec((192, 256), (48, 64))
    maps = torch.from_numpy(heatmaps)
    to_image = matrices.copy()
    to_image[:, :, :2] /= 4

    def ours() -> np.ndarray:
        points, _ = codec.decode(maps)
        return apply_affines(to_image, points.numpy())

    found = measure(
        {
            "published": lambda: published_heatmaps.final_keypoints(heatmaps, matrices),
            "ours": ours,
            "floor": lambda: heatmaps.sum(),
            "other floor": lambda: maps.sum(),
        },
        rounds,
    )
    error = float(np.abs(published_heatmaps.final_keypoints(heatmaps, matrices)[0] - ours()).max())
    return row("3", "final keypoints from 32×17×64×48 maps", found, error, "≤ 1.4 of floor; within 1e-4 px")


def flips(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(2)
    plain, flipped = (rng.normal(size=(32, 17, 64, 48)).astype(np.float32) for _ in range(2))
    a, b, order = torch.from_numpy(plain), torch.from_numpy(flipped), torch.from_numpy(COCO.flip_order)
    buffer = torch.empty_like(a)
    theirs = flipped.copy()  # the published swaps write into their input
    found = measure(
        {
            "published": lambda: published_heatmaps.flip_fusion(plain, theirs, COCO.flip_pairs, True),
            "ours": lambda: fuse_flip(a, b, order, shift=True),
            "floor": lambda: torch.add(a, b, out=buffer),
        },
        rounds,
    )
    expected = published_heatmaps.flip_fusion(plain, flipped.copy(), COCO.flip_pairs, True)
    error = float(np.abs(fuse_flip(a, b, order, shift=True).numpy() - expected).max())
    return row("3b", "flip-test fusion 32×17×64×48", found, error, "≤ 2.5 of floor")


def crowd(images: int, poses: int, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return poses of people, several each, their scores, areas and images; people have equal room everywhere."""
    rng = np.random.default_rng(3)
    room = 600 * (people / 6) ** 0.5
    bodies = rng.uniform(0, room, (images, people, 1, 2)) + rng.normal(0, 40, (images, people, 17, 2))
    table = bodies[:, rng.integers(0, people, poses)] + rng.normal(0, 3, (images, poses, 17, 2))
    scores, areas = rng.random((images, poses)), rng.uniform(5e3, 5e4, (images, poses))
    return table, scores, areas, np.repeat(np.arange(images), poses)


def suppression(rounds: int, images: int = 5000, poses: int = 30) -> dict[str, object]:
    table, scores, areas, numbers = crowd(images, poses, 6)
    triples = np.concatenate([table, np.ones((*table.shape[:3], 1))], -1)

    def published() -> list[list[int]]:
        return [published_oks_nms.suppress(triples[i], scores[i], areas[i], SIGMAS, 0.9) for i in range(images)]

    def ours() -> np.ndarray:
        return oks_nms(table.reshape(-1, 17, 2), scores.reshape(-1), areas.reshape(-1), SIGMAS, 0.9, images=numbers)

    found = measure({"published": published, "ours": ours}, max(rounds // 2, 3))
    expected = np.concatenate([np.array(kept) + i * poses for i, kept in enumerate(published())])
    error = float((expected != ours()).sum())
    return row("5", f"OKS suppression, {images} images × {poses}", found, error, "≥ 15, same keeps")


def growth(rounds: int, total: int = 60_000) -> list[dict[str, object]]:
    """Measure suppression with more poses per image, the same number of poses in all, of five per person."""
    sizes = (10, 30, 100, 300, 1000)
    inputs = {number: crowd(total // number, number, number // 5) for number in sizes}

    def run(number: int) -> Callable[[], object]:
        table, scores, areas, images = inputs[number]
        return lambda: oks_nms(
            table.reshape(-1, 17, 2), scores.reshape(-1), areas.reshape(-1), SIGMAS, 0.9, images=images
        )

    found = compare({str(number): run(number) for number in sizes}, rounds, time.process_time)
    return [
        {"poses per image": number, "ms per 1000 poses": 1e6 * found.seconds(str(number)) / total,
         "of that with 10": shown(found.ratio(str(number), "10"))}
        for number in sizes
    ]  # fmt: skip


def main() -> None:
    args = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("ops paths: " + ", ".join(f"{op}={path}" for op, (path, _) in paths().items()))
    rows = [targets(args.rounds), keypoints(args.rounds), flips(args.rounds), suppression(args.rounds)]
    finish(rows, args.out)
    print("\nOKS suppression, growth")
    print_table(growth(args.rounds))


if __name__ == "__main__":
    main()
