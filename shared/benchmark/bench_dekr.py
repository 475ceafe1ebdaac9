"""Benchmark DEKR's targets and post-processing on one core, against the published code.

python shared/benchmark/run.py --only dekr
python shared/benchmark/run.py --only dekr_targets,dekr_trained     # the latter needs runs/synthetic_dekr
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from baselines import published_dekr
from cases import Bar, Case

from pose_core.bottomup.predictor import render_views
from pose_core.data.images import open_image
from pose_core.layouts.reader import read_dataset
from pose_core.ops import normalize
from pose_core.plugins.experiments import load_config
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_dekr import microbenchmarks as stages
from pose_dekr.decode import CandidatePoses, DekrSettings, decode
from pose_dekr.flip import Fused, fuse, mirror_poses, mirrored, offsets_to_poses
from pose_dekr.predictor import DekrPredictor
from pose_dekr.targets import DEKR, make_targets

ORDER = torch.from_numpy(SKELETONS["coco17"].flip_order)
WITH_CENTER = torch.cat([ORDER, ORDER.new_tensor([17])])
RUN = Path("runs/synthetic_dekr")
"""The run folder of the trained network."""
IMAGES = 50
SETTINGS = DekrSettings(use_heatmap=True)

Maps = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Heatmaps, those of the mirror image, offsets, those of the mirror image."""


def crowd_maps(people: int = stages.CROWD, height: int = 128, width: int = 160) -> Maps:
    """Return the maps of both orientations of an image with many people."""
    heat, offsets = stages.crowd(people, height, width)
    poses = offsets_to_poses(offsets)
    pixels = poses + offsets
    return heat, heat.flip(3)[:, WITH_CENTER], offsets, pixels - mirror_poses(poses, ORDER)


def ours(maps: Maps, settings: DekrSettings = SETTINGS, order: torch.Tensor = ORDER) -> CandidatePoses:
    """Fuse both orientations and decode them."""
    (heat,), (poses,) = fuse(*maps, order)
    height, width = maps[0].shape[2:]
    return decode({1.0: Fused(heat, poses)}, (4 * width, 4 * height), settings)


def published(maps: Maps, order: torch.Tensor = ORDER) -> np.ndarray:
    """Fuse both orientations and decode them as published."""
    height, width = maps[0].shape[2:]
    return published_dekr.post_process(*maps, order, (4 * width, 4 * height))


def apart(maps: Maps, order: torch.Tensor = ORDER) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how far our joints are from the published ones, in pixels, and their scores; none if people differ.

    Only joints whose windows are whole count.
    """
    expected, people = published(maps, order), ours(maps, order=order)
    if expected.shape[:2] != people.points.shape[:2]:
        return None
    places, size = expected[..., :2], 4 * np.array(maps[0].shape[:1:-1])
    inside = ((places > 7) & (places < size - 8)).all(-1)
    return np.abs(places - people.points.numpy()).max(-1)[inside], people.joint_scores.numpy()[inside]


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
    maps = crowd_maps()
    more = {count: faint(maps, count) for count in (0, 20_000)}
    found = apart(maps)
    assert found is not None
    assert (found[0] < 0.01).mean() > 0.99
    yield Case(
        "dekr_decoding",
        "DEKR's maps of both orientations, 30 people, 128×160, to poses",
        {
            "published": lambda: published(maps),
            "ours": lambda: ours(maps),
            "read": lambda: [each.sum() for each in maps],
        },
        (Bar("published", "ours", 20, at_most=False), Bar("ours", "read", 200)),
    )
    yield Case(
        "dekr_faint_maxima",
        "the same with 20,000 maxima too faint to be anybody's",
        {f"{count} more": partial(ours, each) for count, each in more.items()},
        (Bar("20000 more", "0 more", 1.1),),
    )


def targets(folder: Path) -> Iterator[Case]:
    """Yield the targets of an image."""
    side = stages.SIDE
    points, extents = stages.scattered(1)
    joints, areas, keep = points[0].numpy(), extents[0].numpy(), torch.ones(1, side, side)
    published_targets = partial(published_dekr.targets, joints, areas, side)
    our_targets = partial(make_targets, points, extents, keep, DEKR)
    for made, expected in zip(our_targets(), published_targets(), strict=True):
        assert np.abs(made[0].numpy() - expected).max() < 1e-5
    yield Case(
        "dekr_targets",
        f"targets of an image, {len(joints)} people, 18×{side}²",
        {"published": published_targets, "ours": our_targets},
        (Bar("published", "ours", 1.2, at_most=False),),
    )


def trained(folder: Path) -> Iterator[Case]:
    """Yield post-processing of a trained network's maps; notes tell how far our joints are from the published ones.

    Joints of low scores may differ: the published code takes pixels of zero heat for peaks, ours does not.
    """
    if not RUN.is_dir():
        raise SystemExit(f"{RUN} is missing: train a network with `pose-dekr train --cfg synthetic_dekr`")
    data = load_config(RUN / "config.yaml").data
    predictor = Predictor.from_config(RUN / "config.yaml", weights=RUN / "best.pt", device="cpu").worker
    assert isinstance(predictor, DekrPredictor)
    order, images = torch.from_numpy(predictor.skeleton.flip_order), []
    for record in read_dataset(data, data.val, keep_unlabeled=True).records[:IMAGES]:
        image = open_image(record.source)
        (view,) = predictor.views(image.shape[1], image.shape[0])
        pixels = normalize(torch.from_numpy(render_views(image, [view])[0])[None])
        with torch.inference_mode():
            own, mirror = predictor.network(pixels), predictor.network(mirrored(pixels, 3, keep_edge=True))
        images.append((own.heatmaps, mirror.heatmaps, own.offsets, mirror.offsets))
    same = [found for maps in images if (found := apart(maps, order)) is not None]
    away, score = (np.concatenate(parts) for parts in zip(*same, strict=True))
    notes: dict[str, float | str] = {"images with as many people": len(same)}
    for name, low, high in (("at most 0.05", 0, 0.05), ("0.05 to 0.1", 0.05, 0.1), ("above 0.1", 0.1, 1)):
        if (chosen := (score > low) & (score <= high)).any():
            notes[f"of {chosen.sum()} joints scoring {name}, within 0.01 px"] = float((away[chosen] < 0.01).mean())
    yield Case(
        "dekr_trained",
        f"a trained network's maps of both orientations of {len(images)} images, to poses",
        {
            "published": lambda: [published(maps, order) for maps in images],
            "ours": lambda: [ours(maps, order=order) for maps in images],
        },
        (Bar("published", "ours", 5, at_most=False),),
        notes=notes,
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
