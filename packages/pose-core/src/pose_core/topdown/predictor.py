"""Predict poses in images with a network for crops of one person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import nn

from pose_core.engine.interfaces import DetectedImage, Pipeline, PosePredictor
from pose_core.errors import DataError
from pose_core.geometry import Crop, box_to_center_scale
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.dataset import CropBatch
from pose_core.topdown.network import crop_network
from pose_core.topdown.pipeline import CropPipeline
from pose_core.topdown.scoring import person_scores

Array = np.ndarray
T = TypeVar("T")

POOL = 16
"""Maximum number of decoded images held for a full batch: they are large."""


class TopDownPredictor(PosePredictor):
    """A network with its experiment's settings of crops, flip test and decoding."""

    needs_boxes = True

    def __init__(self, network: nn.Module, config: TopDownConfig, skeleton: Skeleton, device: torch.device) -> None:
        self.config: TopDownConfig = config
        self.skeleton = skeleton
        self.device = device
        self.settings = CropSettings.from_config(config, skeleton)
        self.network = crop_network(network, config, device)
        # Only a CPU has other ways to compute it.
        self.plain = network if device.type == "cpu" and config.test.runtime == "auto" else None

    def expect(self, images: int) -> None:
        if self.plain is not None:
            self.network = crop_network(self.plain, self.config, self.device, images)

    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and one pose for each of its boxes, in order; images share batches."""
        pool: list[DetectedImage[T]] = []
        for entry in images:
            pool.append(entry)
            if len(pool) == POOL or sum(len(boxes) for _, _, boxes, _ in pool) >= self.config.test.batch_size:
                yield from self._predict_pool(pool)
                pool = []
        yield from self._predict_pool(pool)

    def predict_batch(self, batch: CropBatch) -> list[tuple[Array, Poses]]:
        """Return the crops ``(H, W, 3)`` RGB of a batch, each with its predicted pose in the crop's pixels."""
        crops = batch.images.cpu().numpy()
        if self.config.data.color == "bgr":
            crops = crops[..., ::-1]
        identity = np.broadcast_to(np.eye(2, 3), (len(crops), 2, 3))
        keypoints = predict_crops(self.network, batch.images.to(self.device), identity, self.settings)
        poses = [Poses(k[None, :, :2], k[None, :, 2], np.ones(1), self.skeleton) for k in keypoints]
        return [(np.ascontiguousarray(crop), pose) for crop, pose in zip(crops, poses, strict=True)]

    def pipeline(self, network: nn.Module, *, flip: bool) -> Pipeline:
        return CropPipeline(network, self.config, replace(self.settings, flip=flip))

    def _predict_pool(self, pool: Sequence[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        keypoints = self._predict_crops([(image, self._crop(box)) for _, image, boxes, _ in pool for box in boxes])
        for key, _, boxes, scores in pool:
            mine, keypoints = keypoints[: len(boxes)], keypoints[len(boxes) :]
            total = person_scores(mine[..., 2], np.asarray(scores, np.float32), self.config.test.joint_threshold)
            corners = np.asarray(boxes, np.float32).reshape(-1, 4)
            yield key, Poses(mine[..., :2], mine[..., 2], total, self.skeleton, corners)

    def _predict_crops(self, crops: Sequence[tuple[Array, Crop]]) -> Array:
        """Return keypoints and scores ``(N, K, 3)``, predicted in batches of the config's test.batch_size."""
        size = self.config.test.batch_size
        results = [np.zeros((0, self.skeleton.num_joints, 3), np.float32)]
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            pixels = np.stack([cv2.warpAffine(im, crop.matrix, crop.size, flags=cv2.INTER_LINEAR) for im, crop in part])
            if self.config.data.color == "bgr":
                pixels = np.ascontiguousarray(pixels[..., ::-1])
            inverse = np.stack([crop.inverse for _, crop in part])
            images = torch.from_numpy(pixels).to(self.device)
            results.append(predict_crops(self.network, images, inverse, self.settings))
        return np.concatenate(results)

    def _crop(self, box: Array) -> Crop:
        width, height = self.config.model.input_size
        if not (np.isfinite(box).all() and box[2] > 0 and box[3] > 0):
            raise DataError(f"box {np.asarray(box).tolist()} has no extent; boxes are x, y, width, height in pixels")
        center, scale = box_to_center_scale(box, width / height)
        return Crop(center, scale * self.config.test.scale, (width, height), convention=self.config.heatmap.convention)
