"""Everyone in an image at once: what methods that look at whole images share when they predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from pose_core.bottomup.config import BottomUpConfig
from pose_core.bottomup.dataset import WholeBatch
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.engine.precision import autocast, dtype_of
from pose_core.models.inference_copy import optimize_for_inference
from pose_core.ops.normalizing import normalize
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses

Array = np.ndarray
T = TypeVar("T")


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


def render_views(image: Array, views: Sequence[View]) -> list[Array]:
    """An image ``(H, W, 3)`` through its views; black beyond its border."""
    return [cv2.warpAffine(image, view.matrix, view.size, flags=cv2.INTER_LINEAR) for view in views]


class BottomUpPredictor(PosePredictor):
    """A network that finds everyone by itself. A method says how it views an image and finds people in the views."""

    needs_boxes = False
    decode_name = "bottom-up"
    """What the protocol line says about decoding."""

    def __init__(self, network: nn.Module, config: BottomUpConfig, skeleton: Skeleton, device: torch.device) -> None:
        self.config: BottomUpConfig = config
        self.skeleton = skeleton
        self.device = device
        self.precision = dtype_of(config.train.precision)
        self.network = optimize_for_inference(
            network.to(device), config.model.input_size, self.precision, compiled=config.test.compile
        )

    @property
    @abstractmethod
    def views(self) -> Views:
        """How an image is looked at."""

    @abstractmethod
    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """People in an image's views, ``(1, 3, h, w)`` normalized on the device each.

        A method may have several kinds of results, by name; the last is the one that it stands for. One kind alone may
        have no name.
        """

    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and everyone's poses, in order; boxes are not read."""
        for key, image, _, _ in images:
            yield key, self.predict_image(image)

    def predict_batch(self, batch: WholeBatch) -> list[tuple[Array, Poses]]:
        """Return the images ``(H, W, 3)`` RGB of a batch, each with everyone found in it."""
        images = batch.images.cpu().numpy()
        if self.config.data.color == "bgr":
            images = images[..., ::-1]
        pictures = [np.ascontiguousarray(image) for image in images]
        return [(picture, self.predict_image(picture)) for picture in pictures]

    def predict_image(self, image: Array) -> Poses:
        """Everyone in an RGB image ``(H, W, 3)`` uint8, the best first."""
        height, width = image.shape[:2]
        views = self.views(width, height)
        pixels = image if self.config.data.color == "rgb" else np.ascontiguousarray(image[..., ::-1])
        kinds = self.find_in(render_views(pixels, views), views)
        return self.as_poses(list(kinds.values())[-1])

    @torch.inference_mode()
    def find_in(self, pictures: Sequence[Array | Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """People in an image's views ``(h, w, 3)`` uint8, in the network's channel order."""
        batches = [torch.as_tensor(picture)[None].to(self.device, non_blocking=True) for picture in pictures]
        last = self.device.type == "cpu"  # convolutions on a CPU are quicker in this order
        with autocast(self.device, self.precision):
            pixels = self.config.data.pixels
            return self.find([normalize(batch, pixels=pixels, channels_last=last) for batch in batches], views)

    def as_poses(self, people: People) -> Poses:
        """People as plain data, the best first."""
        order = people.scores.argsort(descending=True, stable=True)
        points, joints, scores = (column[order].float().cpu().numpy() for column in people)
        return Poses(points, joints, scores, self.skeleton)
