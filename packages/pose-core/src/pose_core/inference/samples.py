"""Training samples as the network gets them: after augmentation, with their targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from pose_core.config import Experiment
from pose_core.drawing.heatmaps import heatmap_overlay
from pose_core.drawing.sheets import MARK
from pose_core.drawing.skeletons import draw_poses
from pose_core.engine.interfaces import TrainingPictures
from pose_core.errors import DataError
from pose_core.layouts.browse import write_pictures
from pose_core.plugins.predictors import Predictor
from pose_core.plugins.tasks import build_task
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import Batch

Array = np.ndarray

SIDE = 256
"""Longer side of a tile on a contact sheet, in pixels."""
LARGE = 512
"""Longer side up to which a small input is enlarged, so that lines do not hide it."""
ABSENT = 1e-6
"""A heatmap whose highest value is below this is empty: its joint has no target."""


def browse_samples(
    config: Experiment,
    target: Path,
    *,
    count: int = 6,
    epoch: int = 0,
    draws: int = 3,
    seed: int = 0,
    weights: str | Path | None = None,
) -> Path:
    """Draw ``count`` random training samples in ``draws`` epochs from ``epoch`` on, each beside its targets.

    With ``weights`` the network's prediction is beside them. The same seed chooses the same samples.
    """
    task = build_task(config)
    data = task.training_set()
    if not len(data):
        raise DataError(f"the training split {config.data.train} has no samples; run `pose data check` to find out why")
    skeleton = get_skeleton(config.data.skeleton)
    chosen = sorted(np.random.default_rng(seed).permutation(len(data))[:count].tolist())
    keys = [[(number, index) for number in range(epoch, epoch + draws)] for index in chosen]
    loader = DataLoader(data, batch_sampler=keys, collate_fn=data.collate)
    predictor = None if weights is None else Predictor.from_config(config, weights, "cpu").worker
    tiles: list[Array] = []
    captions: list[str] = []
    for index, batch in zip(chosen, loader, strict=True):
        on_cpu: Batch = data.to_device(batch, torch.device("cpu"))
        shown = task.pictures(on_cpu)
        predicted = [] if predictor is None else predictor.predict_batch(on_cpu)
        for row in range(draws):
            sample = TrainingPictures(*(column[row] for column in shown))
            images = [draw_sample(sample, skeleton), draw_targets(sample)]
            tiles += images
            captions += [f"sample {index}, epoch {epoch + row}", targets_caption(sample, skeleton)]
            if predicted:
                image, poses = predicted[row]
                large, zoom = _enlarged(image)
                tiles.append(replace(poses, keypoints=_moved(poses.keypoints, zoom)).draw(large))
                captions.append("prediction")
    height, width = tiles[0].shape[:2]
    zoom = SIDE / max(height, width)
    title = f"{config.name}: training samples"
    columns = draws * (2 if predictor is None else 3)
    write_pictures(target, title, tiles, captions, columns=columns, tile=(round(width * zoom), round(height * zoom)))
    return target


def draw_sample(sample: TrainingPictures, skeleton: Skeleton) -> Array:
    """Return the input ``(h, w, 3)`` with its people; labeled joints without a target, outside of it, have a cross."""
    image, zoom = _enlarged(sample.images)
    joints = sample.joints.astype(np.float64)
    labeled = joints[..., 2] > 0
    points = _moved(joints[..., :2], zoom)
    drawn = draw_poses(image, points, labeled.astype(np.float64), skeleton)
    empty = sample.heatmaps.max((1, 2)) < ABSENT
    for x, y in points[labeled & empty].clip([0, 0], [drawn.shape[1] - 1, drawn.shape[0] - 1]).round().tolist():
        cv2.drawMarker(drawn, (int(x), int(y)), MARK, cv2.MARKER_TILTED_CROSS, 18, 3)
    return drawn


def draw_targets(sample: TrainingPictures) -> Array:
    """Return the input with the highest target of all joints at each pixel; what has no loss is gray."""
    image, _ = _enlarged(sample.images)
    overlay = heatmap_overlay(image, sample.heatmaps.max(0))
    keep = cv2.resize(sample.keep.astype(np.uint8), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    overlay[keep == 0] = overlay[keep == 0] // 4 + 96
    return overlay


def targets_caption(sample: TrainingPictures, skeleton: Skeleton) -> str:
    """Return how many joints have a target; the first that has none is named."""
    present = sample.heatmaps.max((1, 2)) >= ABSENT
    lacking = [name for name, has in zip(skeleton.joints, present, strict=True) if not has]
    names = "" if not lacking or not present.any() else f", no {lacking[0]}{'' if len(lacking) == 1 else ' …'}"
    return f"{counted(int(present.sum()), 'target')}{names}"


def _moved(points: Array, zoom: int) -> Array:
    """Return points of an image in the pixels of the enlarged one; coordinates are pixel centers."""
    moved: Array = points * zoom + (zoom - 1) / 2
    return moved


def _enlarged(image: Array) -> tuple[Array, int]:
    """Return an image enlarged by a whole number, and that number."""
    zoom = max(LARGE // max(image.shape[:2]), 1)
    return np.repeat(np.repeat(np.ascontiguousarray(image), zoom, 0), zoom, 1), zoom
