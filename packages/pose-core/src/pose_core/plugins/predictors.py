"""Prediction of the poses in images, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from pose_core.config import Experiment
from pose_core.data.images import open_image
from pose_core.engine.distributed import choose_device
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import ConfigError, DataError
from pose_core.plugins.checkpoints import bind_config, config_of
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import Method, installed_methods
from pose_core.plugins.networks import bare_network, load_weights
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, whole_image

Array = np.ndarray
T = TypeVar("T")
RANDOM = "random"
"""Weights of a predictor that has none."""


class Predictor:
    """Predicts poses with an experiment's network and its settings for crops, flip test and decoding.

    >>> predictor = Predictor.from_name("hrnet_w32.coco_256x192")
    >>> poses = predictor("photo.jpg")
    """

    def __init__(self, worker: PosePredictor) -> None:
        self.worker = worker

    @classmethod
    def from_name(cls, name: str | Path, device: str = "auto") -> Predictor:
        """Build a predictor of weights by their name, ``hrnet_w32.coco_256x192``; `pose weights list` shows the names.

        A checkpoint that a training run has written, ``best.pt``, holds its experiment and will do, too.
        """
        config = config_of(name)
        if config is None:
            raise ConfigError(
                f"{name} does not say which experiment it belongs to; use Predictor.from_config(experiment, {name!r})"
            )
        return cls.from_config(config, name, device)

    @classmethod
    def from_config(
        cls,
        config: Experiment | str | Path,
        weights: str | Path | None = None,
        device: str = "auto",
        *,
        strict: bool = True,
    ) -> Predictor:
        """Build the network of an experiment, by its name or file, and load its weights.

        ``weights`` are a name, a file, a URL, ``hf://owner/repo/file``, or "random" for an untrained network.
        ``device`` is auto (a GPU if there is one), cpu, cuda or cuda:1. The settings that come with named weights
        replace the experiment's: see `pose_core.plugins.checkpoints.bind_config`.
        """
        if weights is None:
            raise ConfigError(
                "a predictor needs weights: a file, a name that `pose weights list` shows, or weights='random' for an "
                "untrained network"
            )
        by_name = not isinstance(config, Experiment)
        experiment = config if isinstance(config, Experiment) else load_config(config)
        if weights != RANDOM:
            experiment = bind_config(experiment, weights, fixed_only=not by_name)
        network = bare_network(experiment)
        if weights != RANDOM:
            load_weights(network, weights, strict=strict)
        skeleton = get_skeleton(experiment.data.skeleton)
        # An experiment made in code may name no installed method: it gets the core's defaults.
        method = installed_methods().get(experiment.method, Method())
        return cls(method.predictor(network, experiment, skeleton, choose_device(device)))

    @property
    def config(self) -> Experiment:
        """The experiment."""
        return self.worker.config

    @property
    def skeleton(self) -> Skeleton:
        """The joint set of the poses."""
        return self.worker.skeleton

    @property
    def needs_boxes(self) -> bool:
        """True if people's boxes must be given or detected, False if the network finds people itself."""
        return self.worker.needs_boxes

    def __call__(
        self, image: Array | str | Path, boxes: Array | None = None, *, detector: Detector | None = None
    ) -> Poses:
        """Return the poses in an image: RGB ``(H, W, 3)`` uint8, or the path of one.

        ``boxes`` ``(N, 4)`` are the people's boxes x, y, w, h, or ``(N, 5)`` with their scores. Without them
        ``detector`` finds people; by default the whole image is one person. A method that finds people itself takes
        neither.
        """
        if not self.needs_boxes and (boxes is not None or detector is not None):
            raise ConfigError(
                f"method {self.config.method!r} finds people by itself; give neither boxes nor a detector"
            )
        pixels, source = _open(image)
        if boxes is None:
            people, scores = (detector or whole_image)(pixels, source)
        else:
            table = np.asarray(boxes, dtype=np.float64)
            if table.ndim != 2 or table.shape[1] not in (4, 5):
                raise DataError(f"boxes must be (N, 4) x, y, w, h, or (N, 5) with scores, not {table.shape}")
            people = table[:, :4]
            scores = table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
        return next(self.predict_stream([DetectedImage(None, pixels, people, scores)]))[1]

    def predict_many(
        self, images: Iterable[Array | str | Path], *, detector: Detector = whole_image
    ) -> Iterator[Poses]:
        """Yield the poses of many images, in order; faster than one by one, since images share batches."""

        def detected() -> Iterator[DetectedImage[None]]:
            for image in images:
                pixels, source = _open(image)
                yield DetectedImage(None, pixels, *detector(pixels, source))

        return (poses for _, poses in self.predict_stream(detected()))

    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and its poses, in order; images share batches."""
        return self.worker.predict_stream(images)


def _open(image: Array | str | Path) -> tuple[Array, Path | None]:
    """Return the pixels, and their file if there is one."""
    if isinstance(image, str | Path):
        return open_image(str(image), "rgb"), Path(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"an image must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    return image, None
