"""From an image to its poses, in three lines of Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

import cv2
import numpy as np
import torch
from torch import nn

from pose_core.data.images import open_image
from pose_core.engine.distributed import choose_device
from pose_core.errors import DataError
from pose_core.geometry import Crop, box_to_center_scale
from pose_core.models.inference_copy import quicken
from pose_core.models.weights import load_weights
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import installed_methods, predictor_class
from pose_core.plugins.networks import check_input_size, create_model
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.crops import CropSettings, predict_crops
from pose_core.topdown.detectors import Detector, whole_image
from pose_core.topdown.scoring import person_scores

Array = np.ndarray
T = TypeVar("T")
Found = tuple[T, Array, Array, Array]
"""Whatever names an image, its pixels ``(H, W, 3)``, the people's boxes ``(N, 4)`` and their scores ``(N,)``."""

POOL = 16
"""At most so many decoded images wait for a full batch: they are large."""


class Predictor:
    """A network, and how its experiment crops, flips and decodes.

    >>> predictor = Predictor.from_config("pose-lite/coco_lpn50_256x192", weights="best.pt")
    >>> poses = predictor("photo.jpg")
    """

    needs_boxes = True
    """Whether someone must say where the people are."""

    def __init__(self, network: nn.Module, config: TopDownConfig, skeleton: Skeleton, device: torch.device) -> None:
        self.config = config
        self.skeleton = skeleton
        self.device = device
        self.settings = CropSettings.from_config(config, skeleton)
        self.network = quicken(
            network.to(device), config.model.input_size, self.settings.precision, compiled=config.test.compile
        )

    @classmethod
    def from_config(
        cls,
        config: TopDownConfig | str | Path,
        weights: str | Path | None = None,
        device: str = "cpu",
        *,
        strict: bool = True,
    ) -> Self:
        """Build the network of an experiment and load its weights; without ``weights`` they are random.

        The answer is of the class that the experiment's method names.
        """
        if not isinstance(config, TopDownConfig):
            config = load_config(config)
        method = installed_methods().get(config.method)
        if method is not None:
            own = predictor_class(method, config)
            cls = own if issubclass(own, cls) else cls
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
        pixels, source = _open(image)
        if boxes is None:
            found, scores = detector(pixels, source)
        else:
            table = np.asarray(boxes, dtype=np.float64)
            if table.ndim != 2 or table.shape[1] not in (4, 5):
                raise DataError(f"boxes must be (N, 4) x, y, w, h, or (N, 5) with scores, not {table.shape}")
            found = table[:, :4]
            scores = table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
        return self.predict_boxes(pixels, found, scores)

    def predict_many(
        self, images: Iterable[Array | str | Path], *, detector: Detector = whole_image
    ) -> Iterator[Poses]:
        """Poses of many images, in their order; faster than one by one, since images share batches."""

        def detected() -> Iterator[Found[None]]:
            for image in images:
                pixels, source = _open(image)
                yield None, pixels, *detector(pixels, source)

        return (poses for _, poses in self.predict_stream(detected()))

    def predict_boxes(self, image: Array, boxes: Array, scores: Array) -> Poses:
        """One pose per box ``(N, 4)``, weighed by the boxes' scores ``(N,)``."""
        return next(self.predict_stream([(None, image, boxes, scores)]))[1]

    def predict_stream(self, images: Iterable[Found[T]]) -> Iterator[tuple[T, Poses]]:
        """For each image whatever names it, pixels, boxes and their scores → its name and its poses, in order."""
        pool: list[Found[T]] = []
        for entry in images:
            pool.append(entry)
            if len(pool) == POOL or sum(len(boxes) for _, _, boxes, _ in pool) >= self.config.test.batch_size:
                yield from self._predict_pool(pool)
                pool = []
        yield from self._predict_pool(pool)

    def _predict_pool(self, pool: Sequence[Found[T]]) -> Iterator[tuple[T, Poses]]:
        found = self._predict_crops([(image, self._crop(box)) for _, image, boxes, _ in pool for box in boxes])
        for name, _, boxes, scores in pool:
            mine, found = found[: len(boxes)], found[len(boxes) :]
            total = person_scores(mine[..., 2], np.asarray(scores, np.float32), self.config.test.joint_threshold)
            corners = np.asarray(boxes, np.float32).reshape(-1, 4)
            yield name, Poses(mine[..., :2], mine[..., 2], total, self.skeleton, corners)

    def _predict_crops(self, crops: Sequence[tuple[Array, Crop]]) -> Array:
        """Keypoints and scores ``(N, K, 3)``, in batches of the config's test.batch_size."""
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


def _open(image: Array | str | Path) -> tuple[Array, Path | None]:
    """Pixels, and where they came from if that is known."""
    if isinstance(image, str | Path):
        return open_image(str(image), "rgb"), Path(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"an image must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    return image, None
