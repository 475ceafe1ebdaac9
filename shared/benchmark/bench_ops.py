"""Benchmark targets, decoding, flip fusion and suppression against the published algorithms, on one core.

python shared/benchmark/bench_ops.py [--rounds 7] [--out results.json]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from baselines import published_heatmaps, published_oks_nms
from paired import arguments, compare, finish

from pose_core.geometry import apply_affines
from pose_core.ops import fuse_flip, gaussian_heatmaps, oks_nms
from pose_core.ops.dispatch import choose
from pose_core.skeleton import SKELETONS
from pose_core.topdown.codec import HeatmapCodec

COCO = SKELETONS["coco17"]
SIGMAS = np.array(COCO.sigmas)


def row(number: str, work: str, found: dict[str, Any], error: float, bar: str) -> dict[str, object]:
    return {
        "#": number, "work": work, "published ms": 1e3 * found["published"], "ours ms": 1e3 * found["ours"],
        "ratio": found["ratio"], "largest difference": error, "bar": bar,
    }  # fmt: skip


def targets(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    joints = rng.uniform(-10, 200, (32, 17, 2)).astype(np.float32) * np.array([1, 1.3], np.float32)
    visible = (rng.random((32, 17)) > 0.15).astype(np.float32)
    points, weights = torch.from_numpy(joints), torch.from_numpy(visible)
    found = compare(
        {
            "published": lambda: published_heatmaps.gaussian_heatmaps(joints, visible, (48, 64), 2, 4.0),
            "ours": lambda: gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25)),
        },
        rounds,
    )
    expected = published_heatmaps.gaussian_heatmaps(joints, visible, (48, 64), 2, 4.0)
    maps, _ = gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25))
    error = float(np.abs(maps.numpy() - expected).max())
    return row("2", "heatmap targets 32×17×64×48", found, error, "≥ 7 within 1e-7, ≥ 4 bit-exact")


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

    found = compare({"published": lambda: published_heatmaps.final_keypoints(heatmaps, matrices), "ours": ours}, rounds)
    error = float(np.abs(published_heatmaps.final_keypoints(heatmaps, matrices)[0] - ours()).max())
    return row("3", "final keypoints from 32×17×64×48 maps", found, error, "≥ 15 within 1e-4 px")


def flips(rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(2)
    plain, flipped = (rng.normal(size=(32, 17, 64, 48)).astype(np.float32) for _ in range(2))
    a, b, order = torch.from_numpy(plain), torch.from_numpy(flipped), torch.from_numpy(COCO.flip_order)
    theirs = flipped.copy()  # the published swaps write into their input
    found = compare(
        {
            "published": lambda: published_heatmaps.flip_fusion(plain, theirs, COCO.flip_pairs, True),
            "ours": lambda: fuse_flip(a, b, order, shift=True),
        },
        rounds,
    )
    expected = published_heatmaps.flip_fusion(plain, flipped.copy(), COCO.flip_pairs, True)
    error = float(np.abs(fuse_flip(a, b, order, shift=True).numpy() - expected).max())
    return row("3b", "flip-test fusion", found, error, "≥ 2")


def suppression(rounds: int, images: int = 5000, poses: int = 30) -> dict[str, object]:
    rng = np.random.default_rng(3)
    people = rng.uniform(0, 600, (images, 6, 1, 2)) + rng.normal(0, 40, (images, 6, 17, 2))
    table = people[:, rng.integers(0, 6, poses)] + rng.normal(0, 3, (images, poses, 17, 2))
    scores, areas = rng.random((images, poses)), rng.uniform(5e3, 5e4, (images, poses))
    triples = np.concatenate([table, np.ones((*table.shape[:3], 1))], -1)
    numbers = np.repeat(np.arange(images), poses)

    def published() -> list[list[int]]:
        return [published_oks_nms.suppress(triples[i], scores[i], areas[i], SIGMAS, 0.9) for i in range(images)]

    def ours() -> np.ndarray:
        return oks_nms(table.reshape(-1, 17, 2), scores.reshape(-1), areas.reshape(-1), SIGMAS, 0.9, images=numbers)

    found = compare({"published": published, "ours": ours}, max(rounds // 2, 3))
    expected = np.concatenate([np.array(kept) + i * poses for i, kept in enumerate(published())])
    error = float((expected != ours()).sum())
    return row("5", f"OKS suppression, {images} images × {poses}", found, error, "≥ 15, same keeps")


def main() -> None:
    args = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    print(f"ops path: {choose('decode_heatmaps')}")
    finish([targets(args.rounds), keypoints(args.rounds), flips(args.rounds), suppression(args.rounds)], args.out)


if __name__ == "__main__":
    main()
