"""The stages around a network, on synthetic people: reading, targets, loss, decoding, suppression, evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from pose_core.benchmark.timing import seconds_of
from pose_core.config import DataConfig
from pose_core.data.sampler import epoch_batches, watching_workers, worker_init
from pose_core.evaluation import coco_keypoint_ap
from pose_core.layouts.reader import read_dataset
from pose_core.ops import decode_flipped, gaussian_heatmaps, heatmap_loss, normalize, oks_nms
from pose_core.plugins.method import Microbenchmark, installed_methods
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import AugmentConfig
from pose_core.topdown.dataset import TopDownDataset

BATCH, SIZE = 32, (192, 256)


@dataclass(frozen=True)
class StageRow:
    """The time of one call of a stage; ``rate`` is in ``unit`` per second."""

    stage: str
    unit: str
    milliseconds: float
    rate: float


def stage_rows(folder: Path, device: torch.device, *, workers: int, budget: float = 1.0) -> list[StageRow]:
    """Measure every stage, those of the installed methods last; a synthetic data set is written to ``folder``."""
    rows = []
    own = (method.microbenchmarks(device) for method in installed_methods().values())
    for stage in chain(stages(folder, device, workers), *own):
        seconds = seconds_of(stage.run, device, budget)
        rows.append(StageRow(stage.name, stage.unit, 1000 * seconds, stage.count / seconds))
    return rows


def stages(folder: Path, device: torch.device, workers: int) -> Iterator[Microbenchmark]:
    """Yield the stages that all methods share."""
    write_dataset(folder, layout="coco", images=64, val_images=16, people=(1, 4), size=(640, 480), seed=0)
    config = DataConfig(root=str(folder))
    records = read_dataset(config, config.train).records
    skeleton = get_skeleton(config.skeleton)
    dataset = TopDownDataset(records, skeleton, input_size=SIZE, augment=AugmentConfig())
    indices = list(range(min(len(dataset), BATCH)))
    yield Microbenchmark(
        "training samples, one process", "samples", len(indices), lambda: dataset.__getitems__(indices)
    )

    @watching_workers()
    def load() -> None:
        batches = epoch_batches(len(dataset), epoch=0, seed=0, batch_size=BATCH)
        for _ in DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=dataset.collate,
            num_workers=workers,
            worker_init_fn=worker_init,
        ):
            pass

    name = f"loader, {workers} workers (their start included)"
    yield Microbenchmark(name, "samples", len(dataset) // BATCH * BATCH or len(dataset), load)

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, SIZE[1], SIZE[0], 3), dtype=torch.uint8, generator=generator).to(device)
    joints = (torch.rand(BATCH, 17, 2, generator=generator) * torch.tensor(SIZE)).to(device)
    weights = torch.ones(BATCH, 17, device=device)
    maps = torch.randn(2, BATCH, 17, SIZE[1] // 4, SIZE[0] // 4, generator=generator).to(device)
    size, ratio = (SIZE[0] // 4, SIZE[1] // 4), (0.25, 0.25)
    order = torch.tensor([int(joint) for joint in skeleton.flip_order], device=device)
    yield Microbenchmark("normalize a batch of bytes", "images", BATCH, lambda: normalize(images))
    yield Microbenchmark(
        "targets", "samples", BATCH, lambda: gaussian_heatmaps(joints, weights, size, 2.0, ratio=ratio)
    )
    name = "loss against joints, forward and backward"
    yield Microbenchmark(name, "samples", BATCH, lambda: _loss(maps[0], joints, weights, ratio))
    yield Microbenchmark(
        "decoding with the mirror image",
        "samples",
        BATCH,
        lambda: decode_flipped(maps[0], maps[1], order, shift=True),
    )

    truth, detections = evaluation_set(500)
    sigmas = np.array(skeleton.sigmas)
    points = np.array([d["keypoints"] for d in detections]).reshape(len(detections), 17, 3)[..., :2]
    scores = np.array([d["score"] for d in detections])
    owners = np.array([d["image_id"] for d in detections])
    areas = np.full(len(detections), 1e4)
    yield Microbenchmark(
        "OKS suppression", "poses", len(scores), lambda: oks_nms(points, scores, areas, sigmas, 0.9, owners)
    )
    yield Microbenchmark("COCO evaluation", "images", 500, lambda: coco_keypoint_ap(truth, detections))


def _loss(maps: torch.Tensor, joints: torch.Tensor, weights: torch.Tensor, ratio: tuple[float, float]) -> None:
    predicted = maps.detach().requires_grad_()
    torch.autograd.backward(heatmap_loss(predicted, joints, weights, 2.0, ratio=ratio))


def evaluation_set(images: int, joints: int = 17, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return ground truth of two people per image, and detections near them."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(2):
            side, center = float(rng.uniform(40, 300)), rng.uniform(100, 500, 2)
            points = center + rng.uniform(-0.5, 0.5, (joints, 2)) * side
            labeled = np.concatenate([points, np.full((joints, 1), 2.0)], 1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                    "keypoints": labeled.reshape(-1).tolist(), "num_keypoints": joints, "area": side * side * 0.6,
                    "bbox": [*(center - side / 2).tolist(), side, side],
                }
            )  # fmt: skip
            for _ in range(2):
                near = points + rng.normal(0, 0.05 * side, (joints, 2))
                keypoints = np.concatenate([near, np.ones((joints, 1))], 1).reshape(-1).tolist()
                detections.append(
                    {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": float(rng.random())}
                )
    records = [{"id": image, "width": 640, "height": 480} for image in range(1, images + 1)]
    return {"images": records, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, detections
