"""Prediction of the poses in images, from Python."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from pose_core.config import Experiment
from pose_core.data.images import open_image
from pose_core.data.sources import ARCHIVE
from pose_core.engine.distributed import choose_device
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.photos import Photo, as_pixels, is_url
from pose_core.plugins.checkpoints import bind_config, config_of, locate_weights
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import Method, installed_methods
from pose_core.plugins.networks import bare_network, load_weights
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, build_detector, default_detector, whole_image
from pose_core.verbosity import is_quiet

Array = np.ndarray
T = TypeVar("T")
P = TypeVar("P", bound=Photo)
RANDOM = "random"
"""Weights of a predictor that has none."""


class Predictor:
    """Predicts poses with an experiment's network and its settings for crops, flip test and decoding.

    >>> predictor = Predictor.from_name("hrnet_w32.coco_256x192")
    >>> poses = predictor("photo.jpg")
    >>> poses.save("drawn.jpg")
    """

    def __init__(self, worker: PosePredictor) -> None:
        self.worker = worker
        self._detectors: dict[str, Detector] = {}

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
        replace the experiment's, with a warning; to change the decoding of named weights, start from their own
        experiment: ``checkpoint_config(find_checkpoint(NAME), ["heatmap.decode=argmax"])``.
        """
        if weights is None:
            raise ConfigError(
                "a predictor needs weights: a file, a name that `pose weights list` shows, or weights='random' for an "
                "untrained network"
            )
        experiment = config if isinstance(config, Experiment) else load_config(config)
        if weights != RANDOM:
            experiment = bind_config(experiment, weights)
            weights = locate_weights(weights)  # what cannot be downloaded is said before anything slow
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

    @overload
    def __call__(
        self,
        image: list[P] | tuple[P, ...],
        boxes: Iterable[Array] | None = None,
        *,
        detector: Detector | str | None = None,
    ) -> list[Poses]: ...
    @overload
    def __call__(
        self,
        image: Iterator[Photo],
        boxes: Iterable[Array] | None = None,
        *,
        detector: Detector | str | None = None,
    ) -> Iterator[Poses]: ...
    @overload
    def __call__(
        self, image: Photo, boxes: Array | None = None, *, detector: Detector | str | None = None
    ) -> Poses: ...
    def __call__(
        self,
        image: Photo | list[P] | tuple[P, ...] | Iterator[Photo],
        boxes: Array | Iterable[Array] | None = None,
        *,
        detector: Detector | str | None = None,
    ) -> Poses | list[Poses] | Iterator[Poses]:
        """Return the poses in an image; for a list of images a list, for a generator an iterator.

        An image is a path, a URL, bytes of an image file, an array (RGB, RGBA or gray, uint8), a PyTorch tensor or a
        PIL image. Photos are turned upright by their EXIF orientation, and poses and boxes are in the upright pixels;
        of a data set whose annotations count stored pixels, give `pose_core.data.images.open_image(file)` instead.

        ``boxes`` ``(N, 4)`` are the people's boxes x, y, w, h, or ``(N, 5)`` with their scores; of several images, one
        such array for each. Without them ``detector`` finds people: a function, or a name that
        `pose_core.topdown.detectors.known_detectors` has; "whole" takes the whole image as one person. By default it is
        Faster R-CNN with MobileNetV3, which is fetched once. A method that finds people itself takes neither.
        """
        if isinstance(image, list | tuple):
            return list(self.predict_many(image, boxes, detector=detector))
        if isinstance(image, io.IOBase):
            raise DataError("an image cannot be an open file; give its path, or what its read() returns")
        if isinstance(image, Iterator):
            return self.predict_many(image, boxes, detector=detector)
        return next(self._predict([image], None if boxes is None else [np.asarray(boxes)], detector, keep=True))

    def predict_many(
        self,
        images: Iterable[Photo],
        boxes: Iterable[Array] | None = None,
        *,
        detector: Detector | str | None = None,
    ) -> Iterator[Poses]:
        """Yield the poses of many images, in order; faster than one by one, since images share batches.

        The poses of a file keep its name instead of its pixels, and read it again when they are shown.
        """
        if isinstance(images, Sized):
            self.worker.expect(len(images))
        return self._predict(images, boxes, detector, keep=False)

    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and its poses, in order; images share batches."""
        return self.worker.predict_stream(images)

    def _predict(
        self, images: Iterable[Photo], boxes: Iterable[Array] | None, detector: Detector | str | None, keep: bool
    ) -> Iterator[Poses]:
        if not self.needs_boxes and (boxes is not None or detector is not None):
            raise ConfigError(
                f"method {self.config.method!r} finds people by itself; give neither boxes nor a detector"
            )
        find = self._detector(detector) if boxes is None else None
        given = None if boxes is None else iter(boxes)

        def detected() -> Iterator[DetectedImage[tuple[Array, str]]]:
            for image in images:
                pixels, source = _open(image)
                if find is not None:
                    people, scores = find(pixels, Path(source) if source and not is_url(source) else None)
                else:
                    assert given is not None
                    people, scores = _boxes(next(given, None))
                yield DetectedImage((pixels, source), pixels, people, scores)

        def poses() -> Iterator[Poses]:
            for (pixels, source), found in self.predict_stream(detected()):
                again = not keep and source and not is_url(source)
                size = (pixels.shape[1], pixels.shape[0])
                yield replace(found, image=None if again else pixels, size=size, source=source)

        return poses()

    def _detector(self, detector: Detector | str | None) -> Detector:
        """Return the detector to use; those with a name are built once."""
        if not self.needs_boxes:
            return whole_image  # the boxes are ignored
        if detector is not None and not isinstance(detector, str):
            return detector
        name = detector or default_detector()
        if name not in self._detectors:
            try:
                self._detectors[name] = build_detector(name, device=self.worker.device)
            except PoseError as error:
                if detector is not None:
                    raise
                warnings.warn(
                    "no boxes were given, and the default detector cannot be used: each whole image is taken as one "
                    'person, which is wrong for most photos. Give boxes=… or detector=…; detector="whole" says that it '
                    f"is meant. The reason: {error}",
                    stacklevel=4,
                )
                self._detectors[name] = whole_image
            else:
                if detector is None and not is_quiet():
                    print(f'people are found by {name}; give boxes=… or detector="…" to choose', file=sys.stderr)
        return self._detectors[name]


def _open(image: Photo) -> tuple[Array, str]:
    """Return the pixels of an image, and its file or URL if there is one."""
    if isinstance(image, str) and ARCHIVE in image and not is_url(image) and not Path(image).exists():
        return open_image(image, "rgb"), ""
    return as_pixels(image)


def _boxes(boxes: Array | None) -> tuple[Array, Array]:
    """Return given boxes ``(N, 4)`` and their scores."""
    if boxes is None:
        raise DataError("there are more images than arrays of boxes: give one (N, 4) array for each image")
    table = np.asarray(boxes, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] not in (4, 5):
        raise DataError(f"boxes must be (N, 4) x, y, w, h, or (N, 5) with scores, not {table.shape}")
    return table[:, :4], table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
