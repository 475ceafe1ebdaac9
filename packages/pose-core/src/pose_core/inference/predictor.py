"""From an image to its poses, in three lines of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from torch import nn

from pose_core.config import Config, load_config
from pose_core.data.images import open_image
from pose_core.engine.distributed import choose_device
from pose_core.errors import DataError
from pose_core.geometry import Crop, box_to_center_scale
from pose_core.inference.detectors import Detector, whole_image
from pose_core.inference.topdown import CropSettings, predict_crops
from pose_core.models.catalog import check_input_size, create_model
from pose_core.models.weights import load_weights
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import Poses

Array = np.ndarray


class Predictor:
    """A network, and how its experiment crops, flips and decodes.

    >>> predictor = Predictor.from_config("pose-lite/coco_lpn50_256x192", weights="best.pt")
    >>> poses = predictor("photo.jpg")
    """

    def __init__(self, network: nn.Module, config: Config, skeleton: Skeleton, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.config = config
        self.skeleton = skeleton
        self.device = device
        self.settings = CropSettings.from_config(config, skeleton)

    @classmethod
    def from_config(
        cls,
        config: Config | str | Path,
        weights: str | Path | None = None,
        device: str = "cpu",
        *,
        strict: bool = True,
    ) -> Self:
        """Build the network of an experiment and load its weights; without ``weights`` they are random."""
        if not isinstance(config, Config):
            config = load_config(config)
        skeleton = get_skeleton(config.data.skeleton)
        network = create_model(config.model.name, num_joints=skeleton.num_joints, **config.model.options)
        check_input_size(network, config.model.name, config.model.input_size)
        if weights is not None:
            load_weights(network, weights, strict=strict)
        return cls(network, config, skeleton, choose_device(device))

    def __call__(
        self, image: Array | str | Path, boxes: Array | None = None, *, detector: Detector = whole_image
    ) -> Poses:
        """Poses in an image: RGB ``(H, W, 3)`` uint8, or the path of one.

        ``boxes`` ``(N, 4)`` are the people's, as x, y, w, h (with a fifth column, their scores). Without them
        ``detector`` looks; by default the whole image is one person.
        """
        source = None if isinstance(image, np.ndarray) else Path(image)
        pixels = image if isinstance(image, np.ndarray) else open_image(str(image), "rgb")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise DataError(f"an image must be (H, W, 3) uint8 RGB, not {pixels.shape} {pixels.dtype}")
        if boxes is None:
            found, scores = detector(pixels, source)
        else:
            table = np.asarray(boxes, dtype=np.float64)
            if table.ndim != 2 or table.shape[1] not in (4, 5):
                raise DataError(f"boxes must be (N, 4) x, y, w, h, or (N, 5) with scores, not {table.shape}")
            found = table[:, :4]
            scores = table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
        return self.predict_boxes(pixels, found, scores)

    def predict_boxes(self, image: Array, boxes: Array, scores: Array) -> Poses:
        """One pose per box, in batches of the config's test.batch_size."""
        size = self.config.test.batch_size
        crops = [self._crop(box) for box in boxes]
        results = []
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            pixels = np.stack([cv2.warpAffine(image, c.matrix, c.size, flags=cv2.INTER_LINEAR) for c in part])
            if self.config.data.color == "bgr":
                pixels = np.ascontiguousarray(pixels[..., ::-1])
            inverse = torch.from_numpy(np.stack([crop.inverse for crop in part]))
            images = torch.from_numpy(pixels).to(self.device)
            results.append(predict_crops(self.network, images, inverse.to(self.device), self.settings).numpy())
        joints = self.skeleton.num_joints
        found = np.concatenate(results) if results else np.zeros((0, joints, 3), np.float32)
        from pose_core.evaluation.rescore import person_scores

        total = person_scores(found[..., 2], np.asarray(scores, np.float32), self.config.test.joint_threshold)
        return Poses(found[..., :2], found[..., 2], total, self.skeleton, np.asarray(boxes, np.float32).reshape(-1, 4))

    def _crop(self, box: Array) -> Crop:
        width, height = self.config.model.input_size
        center, scale = box_to_center_scale(box, width / height)
        return Crop(center, scale * self.config.test.scale, (width, height), convention=self.config.heatmap.convention)
