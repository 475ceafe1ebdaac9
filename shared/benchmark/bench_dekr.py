"""Benchmark DEKR's targets and post-processing, and deformable convolution, on one core.

python shared/benchmark/bench_dekr.py [--rounds 7] [--out results.json]
python shared/benchmark/bench_dekr.py --run runs/synthetic_dekr     # also agreement on a trained network's maps
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import torch
from baselines import published_dekr
from paired import arguments, compare, finish, print_table

from pose_core.bottomup.predictor import render_views
from pose_core.data.images import open_image
from pose_core.layouts.reader import read_dataset
from pose_core.ops import deform_conv, normalize
from pose_core.ops.deformable import DeformPath
from pose_core.plugins.experiments import load_config
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_dekr import microbenchmarks as stages
from pose_dekr.decode import CandidatePoses, DekrSettings, decode
from pose_dekr.flip import Fused, forward_flip, mirror_poses, mirrored, offsets_to_poses
from pose_dekr.predictor import DekrPredictor
from pose_dekr.targets import DEKR, Targets, make_targets

ORDER = torch.from_numpy(SKELETONS["coco17"].flip_order)


def targets(rounds: int) -> dict[str, object]:
    """Compare making the targets of an image."""
    side = stages.SIDE
    points, extents = stages.scattered(1)
    joints, areas = points[0].numpy(), extents[0].numpy()
    keep = torch.ones(1, side, side)

    def ours() -> Targets:
        return make_targets(points, extents, keep, DEKR)

    found = compare({"published": lambda: published_dekr.targets(joints, areas, side), "ours": ours}, rounds)
    expected = published_dekr.targets(joints, areas, side)
    error = max(float(np.abs(a[0].numpy() - b).max()) for a, b in zip(ours(), expected, strict=True))
    return row(f"targets of an image, {len(joints)} people, 18×{side}²", found, error, "-")


def decoding(rounds: int) -> dict[str, object]:
    """Compare post-processing of maps to poses."""
    heat, offsets = stages.crowd()
    poses = offsets_to_poses(offsets)
    mirrored_heat = heat.flip(3)[:, torch.cat([ORDER, torch.tensor([17])])]
    pixels = poses + offsets
    mirrored_offsets = pixels - mirror_poses(poses, ORDER)
    size, settings = (640, 512), DekrSettings(use_heatmap=True)

    def published() -> np.ndarray:
        return published_dekr.post_process(heat, mirrored_heat, offsets, mirrored_offsets, ORDER, size)

    def ours() -> CandidatePoses:
        order = torch.cat([ORDER, ORDER.new_tensor([17])])
        both = (heat + mirrored_heat.flip(3)[:, order]) / 2
        mean = (offsets_to_poses(offsets) + mirror_poses(offsets_to_poses(mirrored_offsets), ORDER)) / 2
        return decode({1.0: Fused(both[0], mean[0])}, size, settings)

    found = compare({"published": published, "ours": ours}, rounds)
    expected, people = published(), ours()
    assert expected.shape[:2] == people.points.shape[:2], (expected.shape, people.points.shape)
    apart = np.abs(expected[..., :2] - people.points.numpy()).max(-1)
    inside = ((expected[..., :2] > 7) & (expected[..., :2] < np.array(size) - 8)).all(-1)
    print(
        f"{len(people.scores)} people; joints within 0.01 px of the published: {(apart[inside] < 0.01).mean():.4f} "
        f"of {inside.sum()} whose windows are whole"
    )
    return row("post-processing, 30 poses, 128×160, flip", found, float(np.median(apart[inside])), "≥ 12")


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


def convolution(rounds: int, *, learning: bool = False) -> dict[str, object]:
    """Compare deformable convolution with torchvision's operator: as in prediction, or with the gradients of all."""
    make = torch.Generator().manual_seed(0)
    x, offset = torch.randn(1, 15, 128, 128, generator=make), 2 * torch.randn(1, 18, 128, 128, generator=make)
    weight, upstream = torch.randn(15, 15, 3, 3, generator=make), torch.randn(1, 15, 128, 128, generator=make)
    inputs = [tensor.requires_grad_(learning) for tensor in (x, offset, weight)]

    def run(path: DeformPath) -> tuple[torch.Tensor, ...]:
        output = deform_conv(x, offset, weight, path=path)
        return torch.autograd.grad(output, inputs, upstream) if learning else (output,)

    found = compare({"published": lambda: run("torchvision"), "ours": lambda: run("auto")}, rounds, time.process_time)
    error = max(float((a - b).abs().max()) for a, b in zip(run("auto"), run("torchvision"), strict=True))
    kind, bar = ("training", "≥ 3 (torchvision)") if learning else ("inference", "≥ 6 (torchvision)")
    return row(f"deformable convolution 15→15, 3×3, 128², {kind}", found, error, bar)


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
    both = [convolution(args.rounds, learning=learning) for learning in (False, True)]
    finish([targets(args.rounds), decoding(args.rounds), *both], args.out)


if __name__ == "__main__":
    main()
