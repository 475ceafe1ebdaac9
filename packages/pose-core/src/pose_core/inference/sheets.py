"""Contact sheets of annotated and predicted people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pose_core.config import Experiment
from pose_core.data.images import open_image
from pose_core.drawing.sheets import MARK, PAPER, add_header, contact_sheet, write_image
from pose_core.drawing.skeletons import draw_poses
from pose_core.engine.interfaces import PosePredictor
from pose_core.errors import DataError
from pose_core.layouts.reader import read_dataset
from pose_core.ops.similarity import oks
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import LEFT_COLOR, MIDDLE_COLOR, RIGHT_COLOR, Skeleton
from pose_core.structures import Batch, ImageRecord, Poses
from pose_core.topdown.detectors import annotated_box

Array = np.ndarray


def prediction_sheet(
    predictor: Predictor,
    config: Experiment,
    target: Path,
    *,
    title: str = "",
    lines: Sequence[str] = (),
    count: int = 12,
    worst: int = 2,
    threshold: float = 0.2,
) -> None:
    """Draw ground truth beside prediction, on the first images of the validation split that have people.

    People are predicted in their annotated boxes. Each pair is captioned with its mean similarity (OKS) and distance
    over the labeled joints; the ``worst`` ones have a red frame. ``title`` and ``lines`` are written on top, above the
    meaning of the colors.
    """
    records = [record for record in read_dataset(config.data, config.data.val).records if record.persons][:count]
    if not records:
        raise DataError(f"the split {config.data.val} has no annotated people to draw predictions on")
    pairs, scores, captions = [], [], []
    for record in records:
        image = open_image(record.source, "rgb")
        boxes = np.array([annotated_box(person) for person in record.persons])
        poses = predictor(image, boxes)
        joints = np.stack([person.joints for person in record.persons])
        truth = _with_joints(image, joints, predictor.skeleton)
        gap = np.full((len(image), 4, 3), PAPER, np.uint8)
        pairs.append(np.hstack([truth, gap, poses.draw(image, threshold)]))
        similarity, distance = _similarity(record, poses)
        scores.append(similarity)
        captions.append(f"OKS {similarity:.2f}, mean distance {distance:.1f} px")
    height, width = pairs[0].shape[:2]
    marked = set(np.argsort(scores)[: min(worst, len(scores) // 2)].tolist())
    sheet = contact_sheet(pairs, captions, columns=3, tile=(512, round(512 * height / width)), marked=marked)
    pictures = f"left: ground truth; right: prediction, without joints that score less than {threshold:g}"
    legend = side_colors() | ({"red frame: worst pairs shown": MARK} if marked else {})
    write_image(target, add_header(sheet, title, [*lines, pictures], legend))


def annotation_sheet(images: Sequence[tuple[Array, Array]], skeleton: Skeleton, title: str, target: Path) -> None:
    """Draw RGB images ``(H, W, 3)``, all of one size, with their annotated joints ``(N, K, 3)``."""
    tiles = [_with_joints(image, joints, skeleton) for image, joints in images]
    height, width = tiles[0].shape[:2]
    sheet = contact_sheet(tiles, columns=5, tile=(256, round(256 * height / width)))
    write_image(target, add_header(sheet, title, [], side_colors()))


def side_colors() -> dict[str, tuple[int, int, int]]:
    """Return the colors by which poses are drawn, with what they mean."""
    return {"person's left side": LEFT_COLOR, "person's right side": RIGHT_COLOR, "middle": MIDDLE_COLOR}


def _with_joints(image: Array, joints: Array, skeleton: Skeleton) -> Array:
    """Return a copy of an image ``(H, W, 3)`` with annotated poses ``(N, K, 3)``."""
    return draw_poses(image, joints[..., :2], (joints[..., 2] > 0).astype(np.float64), skeleton)


def _similarity(record: ImageRecord, poses: Poses) -> tuple[float, float]:
    """Return the mean OKS and the mean distance in pixels, over people with labeled joints and their predictions."""
    similarities, distances = [], []
    for person, found in zip(record.persons, poses.keypoints, strict=True):
        labeled = person.joints[:, 2] > 0
        if labeled.any():
            truth, points = person.joints[labeled, :2].astype(np.float64), found[labeled].astype(np.float64)
            area, sigmas = np.array([person.area]), np.array(poses.skeleton.sigmas)[labeled]
            similarities.append(oks(points[None], truth[None], area, area, sigmas).item())
            distances.append(np.linalg.norm(points - truth, axis=1).mean())
    return (float(np.mean(similarities)), float(np.mean(distances))) if similarities else (float("nan"), float("nan"))


def batch_sheet(predictor: PosePredictor, batch: Batch, target: Path, *, threshold: float = 0.0) -> None:
    """Draw the samples of a training batch, as the network gets them, with the predicted poses."""
    tiles = [poses.draw(image, threshold) for image, poses in predictor.predict_batch(batch)]
    height, width = tiles[0].shape[:2]
    large = not predictor.needs_boxes
    columns, side = (4, 320) if large else (8, 192)
    write_image(target, contact_sheet(tiles, columns=columns, tile=(side, round(side * height / width))))
