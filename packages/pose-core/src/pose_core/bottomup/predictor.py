"""Base class of predictors that find all people in a whole image."""

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
from pose_core.bottomup.tiles import cut_tiles, people_of_tiles
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.engine.precision import inference_dtype
from pose_core.models.network import PoseNetwork
from pose_core.ops.normalizing import normalize
from pose_core.runtimes.choice import ready_network
from pose_core.skeleton import Skeleton
from pose_core.structures import Poses

Array = np.ndarray
T = TypeVar("T")


class View(NamedTuple):
    """An input of the network: a view of ``size`` (w, h); ``matrix`` ``(2, 3)`` maps the image's pixels to it."""

    size: tuple[int, int]
    matrix: Array


class People(NamedTuple):
    """People in an image's pixels: ``points`` ``(N, K, 2)``, ``joint_scores`` ``(N, K)``, ``scores`` ``(N,)``."""

    points: Tensor
    joint_scores: Tensor
    scores: Tensor


Views = Callable[[int, int], Sequence[View]]
"""Width and height of an image → its views. It is sent to loader processes, so it must not hold a network."""


def render_views(image: Array, views: Sequence[View]) -> list[Array]:
    """Render the views of an image ``(H, W, 3)``; black beyond its border."""
    return [cv2.warpAffine(image, view.matrix, view.size, flags=cv2.INTER_LINEAR) for view in views]


def render_tiles(image: Array, views_of: Views) -> Iterator[tuple[list[Array], list[View]]]:
    """Yield the rendered views of each tile of an image ``(H, W, 3)``, and the views, which map the image's pixels."""
    for tile in cut_tiles(image.shape[1], image.shape[0]):
        (x, y), (width, height) = tile.corner, tile.size
        views = views_of(width, height)
        rendered = render_views(image[y : y + height, x : x + width], views)
        yield rendered, [View(view.size, view.matrix @ [[1, 0, -x], [0, 1, -y], [0, 0, 1]]) for view in views]


class BottomUpPredictor(PosePredictor):
    """A network that finds all people in an image. A method defines the views of an image and finds people in them."""

    needs_boxes = False
    decode_name = "bottom-up"
    """Name of the decoding in the protocol line."""

    def __init__(self, network: nn.Module, config: BottomUpConfig, skeleton: Skeleton, device: torch.device) -> None:
        self.config: BottomUpConfig = config
        self.skeleton = skeleton
        self.device = device
        self.network = self._ready(network)
        # Only a CPU has other ways to compute it.
        self.plain = network if device.type == "cpu" and config.test.runtime == "auto" else None

    def expect(self, images: int) -> None:
        if self.plain is not None:
            self.network = self._ready(self.plain, images)

    def _ready(self, network: nn.Module, images: int | None = None) -> nn.Module:
        """Return a copy of a network to predict with, by what computes it best for the number of images, if known."""
        test = self.config.test
        views = 2 if test.flip else 1
        return ready_network(
            network,
            self.config,
            self.device,
            dtype=inference_dtype(test.precision, self.device),
            batch=views,
            images=None if images is None else views * len(test.scales) * images,
            multiple=network.divisor if isinstance(network, PoseNetwork) else 1,
        )

    @property
    @abstractmethod
    def views(self) -> Views:
        """Return the function that gives an image's views."""

    @abstractmethod
    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """Find people in an image's views, each ``(1, 3, h, w)``, normalized, on the device.

        A method may have several kinds of results, by name; the last is the main one. A single kind may have an empty
        name.
        """

    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and all its poses, in order; boxes are ignored."""
        for key, image, _, _ in images:
            yield key, self.predict_image(image)

    def predict_batch(self, batch: WholeBatch) -> list[tuple[Array, Poses]]:
        """Return the images ``(H, W, 3)`` RGB of a batch, each with the poses found in it."""
        images = batch.images.cpu().numpy()
        if self.config.data.color == "bgr":
            images = images[..., ::-1]
        contiguous = [np.ascontiguousarray(image) for image in images]
        return [(image, self.predict_image(image)) for image in contiguous]

    def predict_image(self, image: Array) -> Poses:
        """Return all poses in an RGB image ``(H, W, 3)`` uint8, the best first."""
        height, width = image.shape[:2]
        pixels = image if self.config.data.color == "rgb" else np.ascontiguousarray(image[..., ::-1])
        kinds = self.find_people((width, height), render_tiles(pixels, self.views))
        return self.as_poses(list(kinds.values())[-1])

    def find_people(
        self, size: tuple[int, int], tiles: Iterable[tuple[Sequence[Array | Tensor], Sequence[View]]]
    ) -> Mapping[str, People]:
        """Find people in an image of ``size`` (w, h), given what `render_tiles` returns."""
        found = [self.find_in(images, views) for images, views in tiles]
        if len(found) == 1:
            return found[0]
        return {kind: self._merge(size, [people[kind] for people in found]) for kind in found[0]}

    def _merge(self, size: tuple[int, int], found: Sequence[People]) -> People:
        """Return the people of an image that were found in its tiles, each once."""
        tile_of = np.repeat(np.arange(len(found)), [len(people.scores) for people in found])
        whole = People(*(torch.cat([part.float().cpu() for part in column]) for column in zip(*found, strict=True)))
        sigmas = np.array(self.skeleton.sigmas)
        rows = people_of_tiles(cut_tiles(*size), tile_of, whole.points.numpy(), whole.scores.numpy(), sigmas)
        return People(*(column[torch.from_numpy(rows)] for column in whole))

    @torch.inference_mode()
    def find_in(self, images: Sequence[Array | Tensor], views: Sequence[View]) -> Mapping[str, People]:
        """Find people in the views ``(h, w, 3)`` uint8 of a tile, in the network's channel order."""
        batches = [torch.as_tensor(image)[None].to(self.device, non_blocking=True) for image in images]
        last = self.device.type == "cpu"  # convolutions on a CPU are faster in this order
        pixels = self.config.data.pixels
        return self.find([normalize(batch, pixels=pixels, channels_last=last) for batch in batches], views)

    def as_poses(self, people: People) -> Poses:
        """Convert people to plain data, the best first."""
        order = people.scores.argsort(descending=True, stable=True)
        points, joints, scores = (column[order].float().cpu().numpy() for column in people)
        return Poses(points, joints, scores, self.skeleton)
