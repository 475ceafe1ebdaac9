"""Benchmark the numeric operations on one core, each against a floor or another implementation.

    python shared/benchmark/run.py --only ops

The floor is what any implementation must do, with the same data in the same rounds: write the targets once, read the
maps once (in numpy's and in PyTorch's sum), add two maps into a third. Buffers of floors are reused. Results are
checked against the published algorithms first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from baselines import published_heatmaps, published_oks_nms
from cases import Bar, Case

from pose_core.geometry import apply_affines
from pose_core.ops import deform_conv, fuse_flip, gaussian_heatmaps, oks_nms
from pose_core.ops.deformable import DeformPath
from pose_core.skeleton import SKELETONS
from pose_core.topdown.codec import HeatmapCodec

COCO = SKELETONS["coco17"]
SIGMAS = np.array(COCO.sigmas)
POSES = 30
"""Poses in each image of the suppression, several of each of six people."""

Array = np.ndarray


def targets() -> Case:
    rng = np.random.default_rng(0)
    joints = rng.uniform(-10, 200, (32, 17, 2)).astype(np.float32) * np.array([1, 1.3], np.float32)
    visible = (rng.random((32, 17)) > 0.15).astype(np.float32)
    points, weights, buffer = torch.from_numpy(joints), torch.from_numpy(visible), torch.empty(32, 17, 64, 48)

    def ours() -> torch.Tensor:
        return gaussian_heatmaps(points, weights, (48, 64), 2, ratio=(0.25, 0.25))[0]

    expected = published_heatmaps.gaussian_heatmaps(joints, visible, (48, 64), 2, 4.0)
    assert np.abs(ours().numpy() - expected).max() <= 1e-7
    return Case(
        "targets",
        "heatmap targets 32×17×64×48, within 1e-7",
        {"targets": ours, "writing once": lambda: buffer.fill_(0)},
        (Bar("targets", "writing once", 4),),
    )


def keypoints() -> Case:
    rng = np.random.default_rng(1)
    heatmaps = rng.normal(0, 0.05, (32, 17, 64, 48)).astype(np.float32)
    heatmaps[np.arange(32)[:, None], np.arange(17), rng.integers(0, 64, (32, 17)), rng.integers(0, 48, (32, 17))] = 1
    # Heatmap → image for the published code; ours maps from input pixels.
    matrices = np.concatenate([np.tile(np.eye(2) * 3, (32, 1, 1)), rng.uniform(0, 300, (32, 2, 1))], 2)
    codec, maps, to_image = HeatmapCodec((192, 256), (48, 64)), torch.from_numpy(heatmaps), matrices.copy()
    to_image[:, :, :2] /= 4

    def ours() -> Array:
        points, _ = codec.decode(maps)
        return apply_affines(to_image, points.numpy())

    assert np.abs(published_heatmaps.final_keypoints(heatmaps, matrices)[0] - ours()).max() < 1e-4
    return Case(
        "keypoints",
        "final keypoints from 32×17×64×48 maps, within 1e-4 pixels",
        {"keypoints": ours, "numpy's sum": heatmaps.sum, "PyTorch's sum": maps.sum},
        (Bar("keypoints", "numpy's sum", 1.4), Bar("keypoints", "PyTorch's sum", 1.4)),
    )


def flips() -> Case:
    rng = np.random.default_rng(2)
    plain, flipped = (rng.normal(size=(32, 17, 64, 48)).astype(np.float32) for _ in range(2))
    a, b, order = torch.from_numpy(plain), torch.from_numpy(flipped), torch.from_numpy(COCO.flip_order)
    buffer = torch.empty_like(a)
    expected = published_heatmaps.flip_fusion(plain, flipped.copy(), COCO.flip_pairs, True)
    assert np.array_equal(fuse_flip(a, b, order, shift=True).numpy(), expected)
    return Case(
        "flip fusion",
        "flip-test fusion of 32×17×64×48 maps, bit-equal",
        {"fusion": lambda: fuse_flip(a, b, order, shift=True), "adding two maps": lambda: torch.add(a, b, out=buffer)},
        (Bar("fusion", "adding two maps", 2.5),),
    )


def crowd(images: int, poses: int, people: int) -> tuple[Array, Array, Array, Array]:
    """Return poses of people, several each, their scores, areas and images; people have equal room everywhere."""
    rng = np.random.default_rng(3)
    room = 600 * (people / 6) ** 0.5
    bodies = rng.uniform(0, room, (images, people, 1, 2)) + rng.normal(0, 40, (images, people, 17, 2))
    table = bodies[:, rng.integers(0, people, poses)] + rng.normal(0, 3, (images, poses, 17, 2))
    scores, areas = rng.random((images, poses)), rng.uniform(5e3, 5e4, (images, poses))
    return table, scores, areas, np.repeat(np.arange(images), poses)


def suppress(table: Array, scores: Array, areas: Array, images: Array) -> Array:
    """Return the rows that our suppression keeps."""
    return oks_nms(table.reshape(-1, 17, 2), scores.reshape(-1), areas.reshape(-1), SIGMAS, 0.9, images=images)


def suppression(images: int = 5000, published: int = 500) -> Case:
    """Compare 5,000 images with the published code's time for a tenth of them: its images are independent."""
    everyone = crowd(images, POSES, 6)
    table, scores, areas, _ = (part[:published] for part in everyone)
    triples = np.concatenate([table, np.ones((*table.shape[:3], 1))], -1)

    def theirs() -> list[list[int]]:
        return [published_oks_nms.suppress(triples[i], scores[i], areas[i], SIGMAS, 0.9) for i in range(published)]

    expected = np.concatenate([np.array(kept) + i * POSES for i, kept in enumerate(theirs())])
    kept = suppress(*everyone)
    assert np.array_equal(kept[kept < published * POSES], expected)
    return Case(
        "OKS suppression",
        f"{images} images × {POSES} poses, same keeps; the published code has a tenth of the images",
        {"published": theirs, "ours": lambda: suppress(*everyone)},
        (Bar("published", "ours", 15 * published / images, at_most=False),),
    )


def convolution(*, learning: bool) -> Case:
    """Compare deformable convolution with torchvision's operator: as in prediction, or with the gradients of all."""
    make = torch.Generator().manual_seed(0)
    x, offset = torch.randn(1, 15, 128, 128, generator=make), 2 * torch.randn(1, 18, 128, 128, generator=make)
    weight, upstream = torch.randn(15, 15, 3, 3, generator=make), torch.randn(1, 15, 128, 128, generator=make)
    inputs = [tensor.requires_grad_(learning) for tensor in (x, offset, weight)]

    def run(path: DeformPath) -> tuple[torch.Tensor, ...]:
        output = deform_conv(x, offset, weight, path=path)
        return torch.autograd.grad(output, inputs, upstream) if learning else (output,)

    for found, expected in zip(run("auto"), run("torchvision"), strict=True):
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4
    kind = "training" if learning else "inference"
    return Case(
        f"deformable convolution, {kind}",
        "15→15, 3×3, 128²",
        {"torchvision": lambda: run("torchvision"), "ours": lambda: run("auto")},
        (Bar("torchvision", "ours", 3 if learning else 6, at_most=False),),
    )


def cases(folder: Path) -> Iterator[Case]:
    """Yield the operations."""
    yield targets()
    yield keypoints()
    yield flips()
    yield suppression()
    yield convolution(learning=False)
    yield convolution(learning=True)


def growth() -> Iterator[tuple[str, str, dict[int, Callable[[], object]]]]:
    """Yield suppression of more poses in an image, five of each person."""
    crowds = {people: crowd(1, 5 * people, people) for people in (10, 30, 100, 300, 1000)}
    yield "people in an image", "OKS suppression", {n: lambda c=c: suppress(*c) for n, c in crowds.items()}
