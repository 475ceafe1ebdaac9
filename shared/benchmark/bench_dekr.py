"""Benchmark DEKR's targets and post-processing on one core.

python shared/benchmark/bench_dekr.py [--rounds 7] [--out results.json]
python shared/benchmark/bench_dekr.py --run runs/synthetic_dekr     # also agreement on a trained network's maps
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from baselines import published_dekr
from cases import Bar, Case
from paired import arguments, compare, finish, print_table

from pose_core.bottomup.predictor import render_views
from pose_core.data.images import open_image
from pose_core.layouts.reader import read_dataset
from pose_core.ops import normalize
from pose_core.plugins.experiments import load_config
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_dekr import microbenchmarks as stages
from pose_dekr.decode import CandidatePoses, DekrSettings, decode
from pose_dekr.flip import Fused, forward_flip, fuse, mirror_poses, mirrored, offsets_to_poses
from pose_dekr.predictor import DekrPredictor
from pose_dekr.targets import DEKR, Targets, make_targets

ORDER = torch.from_numpy(SKELETONS["coco17"].flip_order)
WITH_CENTER = torch.cat([ORDER, ORDER.new_tensor([17])])


def targets(rounds: int) -> dict[str, object]:
    """Compare making the targets of an image."""
    side = stages.SIDE
    points, extents = stages.scattered(1)
    joints, areas = points[0].numpy(), extents[0].numpy()
    keep = torch.ones(1, side, side)

    def make() -> Targets:
        return make_targets(points, extents, keep, DEKR)

    found = compare({"published": lambda: published_dekr.targets(joints, areas, side), "ours": make}, rounds)
    expected = published_dekr.targets(joints, areas, side)
    error = max(float(np.abs(a[0].numpy() - b).max()) for a, b in zip(make(), expected, strict=True))
    return row(f"targets of an image, {len(joints)} people, 18×{side}²", found, error, "-")


Maps = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Heatmaps, those of the mirror image, offsets, those of the mirror image."""


def crowd_maps(people: int = stages.CROWD, height: int = 128, width: int = 160) -> Maps:
    """Return the maps of both orientations of an image with many people."""
    heat, offsets = stages.crowd(people, height, width)
    poses = offsets_to_poses(offsets)
    pixels = poses + offsets
    return heat, heat.flip(3)[:, WITH_CENTER], offsets, pixels - mirror_poses(poses, ORDER)


def ours(maps: Maps, settings: DekrSettings) -> CandidatePoses:
    """Fuse both orientations and decode them."""
    (heat,), (poses,) = fuse(*maps, ORDER)
    height, width = maps[0].shape[2:]
    return decode({1.0: Fused(heat, poses)}, (4 * width, 4 * height), settings)


def decoding(rounds: int) -> dict[str, object]:
    """Compare post-processing of maps to poses."""
    maps, settings = crowd_maps(), DekrSettings(use_heatmap=True)
    expected, people = published(maps), ours(maps, settings)
    found = compare({"published": lambda: published(maps), "ours": lambda: ours(maps, settings)}, rounds)
    assert expected.shape[:2] == people.points.shape[:2], (expected.shape, people.points.shape)
    apart = np.abs(expected[..., :2] - people.points.numpy()).max(-1)
    inside = ((expected[..., :2] > 7) & (expected[..., :2] < np.array([640, 512]) - 8)).all(-1)
    print(
        f"{len(people.scores)} people; joints within 0.01 px of the published: {(apart[inside] < 0.01).mean():.4f} "
        f"of {inside.sum()} whose windows are whole"
    )
    return row("post-processing, 30 poses, 128×160, flip", found, float(np.median(apart[inside])), "≥ 20")


def published(maps: Maps) -> np.ndarray:
    """Fuse both orientations and decode them as published."""
    height, width = maps[0].shape[2:]
    return published_dekr.post_process(*maps, ORDER, (4 * width, 4 * height))


def faint(maps: Maps, count: int) -> Maps:
    """Return maps with ``count`` more maxima, all together, that are below the thresholds of people and joints."""
    make = torch.Generator().manual_seed(0)
    heat = torch.zeros_like(maps[0])
    lattice = heat[:, :, 2::4, 2::4]
    values = torch.zeros(lattice.numel())
    values[torch.randperm(len(values), generator=make)[:count]] = 0.004 * torch.rand(count, generator=make)
    lattice.copy_(values.reshape(lattice.shape))
    heat = torch.maximum(torch.where(maps[0] > 0.02, maps[0], 0), heat)
    return heat, heat.flip(3)[:, WITH_CENTER], maps[2], maps[3]


def cases(folder: Path) -> Iterator[Case]:
    """Yield the bars of post-processing; the floor reads the maps once."""
    settings, maps = DekrSettings(use_heatmap=True), crowd_maps()
    more = {count: faint(maps, count) for count in (0, 20_000)}
    yield Case(
        "dekr_decoding",
        "DEKR's maps of both orientations, 30 people, 128×160, to poses",
        {
            "published": lambda: published(maps),
            "ours": lambda: ours(maps, settings),
            "read": lambda: [each.sum() for each in maps],
        },
        (Bar("published", "ours", 20, at_most=False), Bar("ours", "read", 200)),
    )
    yield Case(
        "dekr_faint_maxima",
        "the same with 20,000 maxima too faint to be anybody's",
        {f"{count} more": partial(ours, each, settings) for count, each in more.items()},
        (Bar("20000 more", "0 more", 1.1),),
    )


def growth() -> Iterator[tuple[str, str, dict[int, Callable[[], object]]]]:
    """Yield axes of growth, the work, and what does it at each size.

    A joint of each person is fitted, and each is compared with 30 peaks at least: linear in people but for the
    comparison of all poses with each other and with all peaks, some operations on numbers each.
    """
    settings = DekrSettings(use_heatmap=True, max_people=100)
    crowds = {people: crowd_maps(people, 256, 320) for people in (1, 3, 10, 30, 100)}
    yield "people in an image", "DEKR post-processing", {n: partial(ours, maps, settings) for n, maps in crowds.items()}
    sizes = {side: crowd_maps(10, side, side) for side in (64, 128, 256, 512)}
    yield "side of the maps", "DEKR post-processing", {n: partial(ours, maps, settings) for n, maps in sizes.items()}


def agreement(run: Path, images: int) -> list[dict[str, object]]:
    """Compare both post-processings on a trained DEKR network's output for its validation images.

    Joints of low scores may differ: the published code takes pixels of zero heat for peaks, ours does not.
    """
    config = load_config(run / "config.yaml")
    predictor = Predictor.from_config(run / "config.yaml", weights=run / "best.pt", device="cpu")
    assert isinstance(predictor, DekrPredictor)
    order = torch.from_numpy(predictor.skeleton.flip_order)
    settings, counts, apart, scores = DekrSettings(use_heatmap=True), [], [], []
    for record in read_dataset(config.data, config.data.val, keep_unlabeled=True).records[:images]:
        image = open_image(record.source)
        (view,) = predictor.views(image.shape[1], image.shape[0])
        with torch.inference_mode():
            pixels = normalize(torch.from_numpy(render_views(image, [view])[0])[None])
            ours, theirs = predictor.network(pixels), predictor.network(mirrored(pixels, 3, keep_edge=True))
            expected = published_dekr.post_process(
                ours.heatmaps, theirs.heatmaps, ours.offsets, theirs.offsets, order, view.size
            )
            (fused,) = forward_flip(predictor.network, pixels, order, keep_edge=True)
            found = decode({1.0: fused}, view.size, settings)
        counts.append(len(expected) == len(found.scores))
        if counts[-1]:
            inside = ((expected[..., :2] > 7) & (expected[..., :2] < np.array(view.size) - 8)).all(-1)
            apart.append(np.abs(expected[..., :2] - found.points.numpy()).max(-1)[inside])
            scores.append(found.joint_scores.numpy()[inside])
    error, score = np.concatenate(apart), np.concatenate(scores)
    print(f"{sum(counts)} of {len(counts)} images with the same number of people")
    return [
        {
            "joints scoring": name, "number": int(chosen.sum()),
            "within 0.01 px": float((error[chosen] < 0.01).mean()),
            "99th percentile px": float(np.quantile(error[chosen], 0.99)),
        }
        for name, chosen in (("above 0.1", score > 0.1), ("0.05 to 0.1", (score > 0.05) & (score <= 0.1)),
                             ("at most 0.05", score <= 0.05))
        if chosen.any()
    ]  # fmt: skip


def row(work: str, found: dict[str, float], error: float, bar: str) -> dict[str, object]:
    return {
        "work": work, "published ms": 1e3 * found["published"], "ours ms": 1e3 * found["ours"],
        "ratio": found["ratio"], "difference": error, "bar": bar,
    }  # fmt: skip


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, help="run folder of a DEKR network, for the agreement on its output")
    parser.add_argument("--images", type=int, default=50, help="validation images for that (50)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.run:
        print_table(agreement(args.run, args.images))
    cv2.setNumThreads(1)
    finish([targets(args.rounds), decoding(args.rounds)], args.out)


if __name__ == "__main__":
    main()
