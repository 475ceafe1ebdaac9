"""What a method gives the engine: networks, training samples, an objective, an evaluation; and what predicts with them.

Every hook that the engine calls is declared here, with its default where it has one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pose_core.config import Experiment, TrainConfig
from pose_core.data.sampler import Key
from pose_core.evaluation.report import Evaluation as Evaluation
from pose_core.skeleton import Skeleton
from pose_core.structures import Batch, Poses

Array = np.ndarray
B = TypeVar("B", bound=Batch)
T = TypeVar("T")
BuildNetwork = Callable[[Experiment], nn.Module]
"""Makes an experiment's pose network, initialized as the experiment says; `pose_core.plugins` has the one."""


class Update(Protocol):
    """One optimizer step of a named network: backward, clipping, step."""

    def __call__(self, name: str, loss: Tensor) -> None: ...


class TrainingSet(Dataset[B], ABC):
    """Training samples and how a loader joins them."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, key: Key) -> B:
        """Return a sample by index, or by (epoch, index): the epoch changes how it varies."""

    @property
    def groups(self) -> Array | None:
        """The number ``(len,)`` of each sample's image, where batches may share decoded images."""
        return None

    @staticmethod
    def collate(samples: Sequence[B]) -> B:
        """Return samples as one batch."""
        return type(samples[0]).stack(samples)

    def to_device(self, batch: B, device: torch.device) -> Batch:
        """Return a batch of this set on a device, as the objective takes it."""
        return batch.to(device)


class Objective(ABC, Generic[B]):
    """What training minimizes; stateless by default.

    An adversarial method calls ``update`` once for each of its networks, in its own order, and runs as many forwards
    in between as it needs; what it remembers from step to step goes through ``state_dict``.
    """

    @abstractmethod
    def step(self, networks: Mapping[str, nn.Module], batch: B, update: Update) -> dict[str, Tensor]:
        """Run one training iteration and return what to log; ``loss`` is watched for NaN."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to continue exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # nothing to restore by default
        """Restore what `state_dict` returned."""


class Task(ABC):
    """A configured method, as the engine sees it."""

    config: Experiment
    repeated_networks: frozenset[str] = frozenset()
    """Networks that a step runs several times before their backward."""

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """Return fresh networks, initialized. "pose" is the one that is evaluated."""

    @abstractmethod
    def training_set(self) -> TrainingSet[Any]:
        """Return the training samples."""

    @abstractmethod
    def objective(self, device: torch.device) -> Objective[Any]:
        """Return what training minimizes."""

    @abstractmethod
    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Score the networks; called by every process, and the same in each."""

    def train_settings(self, network: str) -> TrainConfig:
        """Return how a network is trained: by default as the config says.

        Of these, a network has its optimizer, learning rate and schedule to itself; all else is the run's.
        """
        return self.config.train


class DetectedImage(NamedTuple, Generic[T]):
    """An image and where its people are: pixels ``(H, W, 3)`` RGB, boxes ``(N, 4)`` x, y, w, h, scores ``(N,)``.

    ``key`` is whatever the caller knows the image by.
    """

    key: T
    image: Array
    boxes: Array
    scores: Array


class PosePredictor(ABC):
    """Finds poses in images with one trained network."""

    config: Experiment
    skeleton: Skeleton
    needs_boxes: bool
    """Whether people's boxes must be given; otherwise it finds people itself, and boxes are not read."""

    @abstractmethod
    def predict_stream(self, images: Iterable[DetectedImage[T]]) -> Iterator[tuple[T, Poses]]:
        """Yield each image's key and its poses, in order; images may share batches."""

    @abstractmethod
    def predict_batch(self, batch: Any) -> list[tuple[Array, Poses]]:
        """Return the images ``(H, W, 3)`` RGB of a training batch, each with the poses found in it."""
