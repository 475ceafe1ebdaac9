"""Everyone in an image at once: what methods that look at whole images share when they predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from pose_core.bottomup.config import BottomUpConfig
from pose_core.config import Experiment
from pose_core.errors import ConfigError
from pose_core.models.inference_copy import quicken
from pose_core.ops.normalizing import normalize
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, whole_image
from pose_core.topdown.predictor import Found, Predictor, T

Array = np.ndarray


class View(NamedTuple):
    """An image as the network sees it: ``size`` (w, h), and ``matrix`` ``(2, 3)`` from the image's pixels."""

    size: tuple[int, int]
    matrix: Array


class People(NamedTuple):
    """People in an image's pixels: ``points`` ``(N, K, 2)``, ``joint_scores`` ``(N, K)``, ``scores`` ``(N,)``."""

    points: Tensor
    joint_scores: Tensor
    scores: Tensor


Views = Callable[[int, int], Sequence[View]]
"""The views of an image of a width and a height. It goes to loader processes: keep networks out of it."""


def look(image: Array, views: Sequence[View]) -> list[Array]:
    """An image ``(H, W, 3)`` through its views; black beyond its border."""
    return [cv2.warpAffine(image, view.matrix, view.size, flags=cv2.INTER_LINEAR) for view in views]


class BottomUpPredictor(Predictor):
    """A network that finds everyone by itself. A method says how it views an image and finds people in the views.

    >>> predictor = Predictor.from_config("pose-dekr/coco_dekr_w32_512", weights="best.pt")
    >>> poses = predictor("photo.jpg")
    """

    needs_boxes = False
    decode_name = "bottom-up"
    """What the protocol line says about decoding."""

    def __init__(self, network: nn.Module, config: Experiment, skeleton: Skeleton, device: torch.device) -> None:
        if not isinstance(config, BottomUpConfig):
            raise ConfigError(f"method {config.method!r} looks at whole images, and its configuration does not say how")
        self.whole = config
        self.config = config
        self.skeleton = skeleton
        self.device = device
        precisions = {"bf16": torch.bfloat16, "fp16": torch.float16}
        self.precision = precisions.get(config.train.precision)
        self.network = quicken(
            network.to(device), config.model.input_size, self.precision, compiled=config.test.compile
        )

    @property
    @abstractmethod
    def views(self) -> Views:
        """How an image is looked at."""

    @abstractmethod
    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """People in an image's views, ``(1, 3, h, w)`` normalised on the device each.

        A method may have several kinds of results, by name; the last is the one that it stands for. One kind alone may
        have no name.
        """

    def __call__(self, image: Array | str, boxes: Array | None = None, *, detector: Detector = whole_image) -> Poses:  # type: ignore[override]
        """Poses of everyone in an image: RGB ``(H, W, 3)`` uint8, or the path of one."""
        if boxes is not None or detector is not whole_image:
            raise ConfigError(f"method {self.config.method!r} finds people by itself: leave out boxes and detectors")
        return super().__call__(image)

    def predict_stream(self, images: Iterable[Found[T]]) -> Iterator[tuple[T, Poses]]:
        """For each image whatever names it and its pixels → its name and its poses, in order; boxes are not read."""
        for name, image, _, _ in images:
            yield name, self.predict_image(image)

    def predict_image(self, image: Array) -> Poses:
        """Everyone in an RGB image ``(H, W, 3)`` uint8, the best first."""
        height, width = image.shape[:2]
        views = self.views(width, height)
        pixels = image if self.config.data.color == "rgb" else np.ascontiguousarray(image[..., ::-1])
        kinds = self.find_in(look(pixels, views), views)
        return self.as_poses(list(kinds.values())[-1])

    @torch.inference_mode()
    def find_in(self, pictures: Sequence[Array | Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """People in an image's views ``(h, w, 3)`` uint8, in the network's channel order."""
        batches = [torch.as_tensor(picture)[None].to(self.device, non_blocking=True) for picture in pictures]
        last = self.device.type == "cpu"  # convolutions on a CPU are quicker in this order
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            pixels = self.config.data.pixels
            return self.find([normalize(batch, pixels=pixels, channels_last=last) for batch in batches], views)

    def as_poses(self, people: People) -> Poses:
        """People as plain data, the best first."""
        order = people.scores.argsort(descending=True, stable=True)
        points, joints, scores = (column[order].float().cpu().numpy() for column in people)
        return Poses(points, joints, scores, self.skeleton)
