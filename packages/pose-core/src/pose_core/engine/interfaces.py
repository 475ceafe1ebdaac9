"""Interfaces between methods and the engine: networks, training samples, objective, evaluation, predictor.

Every hook that the engine calls is declared here, with its default if it has one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pose_core.config import Experiment, TrainConfig
from pose_core.data.mixture import Mixture
from pose_core.data.sampler import Key
from pose_core.errors import ConfigError
from pose_core.evaluation.report import Evaluation as Evaluation
from pose_core.skeleton import Skeleton
from pose_core.structures import Batch, Poses

Array = np.ndarray
B = TypeVar("B", bound=Batch)
T = TypeVar("T")
BuildNetwork = Callable[[Experiment], nn.Module]
"""Builds an experiment's pose network, initialized as configured; implemented by `pose_core.plugins`."""


class Update(Protocol):
    """A function that performs one optimizer step of a named network: backward, clipping, step."""

    def __call__(self, name: str, loss: Tensor) -> None: ...


class TrainingSet(Dataset[B], ABC):
    """Training samples, and how a loader batches them."""

    mixture: Mixture | None = None
    """Where the samples come from, and how often an epoch has each, if they are of several data sets."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, key: Key) -> B:
        """Return a sample by index, or by (epoch, index): its augmentation depends on the epoch."""

    @property
    def groups(self) -> Array | None:
        """Number ``(len,)`` of each sample's image, if batches may share decoded images."""
        return None

    @staticmethod
    def collate(samples: Sequence[B] | B) -> B:
        """Return samples as one batch; one that the set has made whole, in ``__getitems__``, is returned as it is."""
        return samples if isinstance(samples, Batch) else type(samples[0]).stack(samples)

    def to_device(self, batch: B, device: torch.device) -> Batch:
        """Return a batch of this set on a device, in the form that the objective takes."""
        return batch.to(device)

    def micro_batches(self, batch: B, device: torch.device, parts: int) -> list[Batch]:
        """Return a batch of this set as ``parts`` equal ones on a device, split before they are sent there."""
        return [self.to_device(part, device) for part in batch.split(parts)]


class Objective(ABC, Generic[B]):
    """A training objective; stateless by default.

    An adversarial method calls ``update`` once for each of its networks, in its own order, and runs as many forward
    passes in between as it needs; state that it keeps between steps goes through ``state_dict``.
    """

    @abstractmethod
    def step(self, networks: Mapping[str, nn.Module], batch: B, update: Update) -> dict[str, Tensor]:
        """Run one training iteration and return values to log; ``loss`` is checked for NaN."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs to continue exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # nothing to restore by default
        """Restore what `state_dict` returned."""


class TrainingPictures(NamedTuple):
    """A batch as the network gets it, to look at: N samples with up to P people.

    ``images`` ``(N, H, W, 3)`` uint8 RGB; ``joints`` ``(N, P, K, 3)`` x, y in their pixels and a label, 0 for joints
    without a target; ``heatmaps`` ``(N, K, h, w)`` the targets; ``keep`` ``(N, h, w)`` bool, False where there is no
    loss.
    """

    images: Array
    joints: Array
    heatmaps: Array
    keep: Array


class Task(ABC):
    """A configured method."""

    config: Experiment

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """Build and initialize the networks by name; "pose" is the one that is evaluated."""

    @abstractmethod
    def training_set(self) -> TrainingSet[Any]:
        """Build the training set."""

    @abstractmethod
    def objective(self, device: torch.device) -> Objective[Any]:
        """Build the training objective."""

    @abstractmethod
    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Score the network "pose", the only one that must be given; every process calls this, with the same result."""

    def pictures(self, batch: Any) -> TrainingPictures:
        """Return a batch of the training set on the CPU, after ``to_device``, as pictures of inputs and targets."""
        raise ConfigError(f"method {self.config.method!r} has no pictures of its training samples")

    def train_settings(self, network: str) -> TrainConfig:
        """Return the training settings of a network: by default those of the config.

        Only optimizer, learning rate and schedule may differ between networks; all other settings are the run's.
        """
        return self.config.train


class DetectedImage(NamedTuple, Generic[T]):
    """An image and its people's boxes: pixels ``(H, W, 3)`` RGB, boxes ``(N, 4)`` x, y, w, h, scores ``(N,)``.

    ``key`` identifies the image to the caller.
    """

    key: T
    image: Array
    boxes: Array
    scores: Array


class Pipeline(nn.Module, ABC):
    """A network with the steps before and after it that can be exported with it.

    ``forward`` takes RGB images ``(N, H, W, 3)`` uint8 and returns a named tuple of tensors, in the images' pixels.
    """

    multiple: int | None
    """None if the images' size is fixed and their number is free; else one image whose sides are multiples of this."""
    settings: Mapping[str, Any]
    """What is needed to use it, for a file's metadata: plain data."""
    rest: str
    """The steps that are left to the caller."""
    script: Literal["crops", "whole"] | None
    """How a bundle's script prepares images for it; None if its results need more than such a script has."""


class PosePredictor(ABC):
    """A predictor of poses in images, with one trained network."""

    config: Experiment
    skeleton: Skeleton
    device: torch.device
    needs_boxes: bool
    """Whether the predictor needs people's boxes; otherwise it finds people itself and ignores boxes."""

    @abstractmethod
    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and its poses, in order; images may share batches."""

    def expect(self, images: int) -> None:  # noqa: B027  # nothing to prepare by default
        """Prepare for a number of images: what computes the network best depends on it."""

    @abstractmethod
    def predict_batch(self, batch: Any) -> list[tuple[Array, Poses]]:
        """Return the images ``(H, W, 3)`` RGB of a training batch, each with the poses found in it."""

    def pipeline(self, network: nn.Module, *, flip: bool) -> Pipeline:
        """Return a plain ``network`` with this predictor's other steps, for export; ``flip`` adds the flip test."""
        raise ConfigError(
            f"method {self.config.method!r} cannot export pixels to keypoints; export its network without --end-to-end"
        )
