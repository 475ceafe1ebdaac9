"""Training and evaluation of a network that finds all people in a whole image."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pose_core.bottomup.config import BottomUpConfig
from pose_core.bottomup.dataset import (
    BottomUpDataset,
    Describe,
    Recolor,
    WholeBatch,
    is_learned,
    keep_maps,
    labeled_joints,
)
from pose_core.bottomup.evaluate import HeldOutImages, evaluate_bottomup, held_out_images
from pose_core.bottomup.predictor import BottomUpPredictor
from pose_core.data.kept_reading import KeptReading
from pose_core.data.mixture import Mixture
from pose_core.engine.distributed import rank_and_world_size
from pose_core.engine.interfaces import BuildNetwork, Evaluation, Task, TrainingPictures
from pose_core.errors import ConfigError
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_core.layouts.sources import Source, find_sources, with_sources
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord

_log = logging.getLogger(__name__)


class BottomUpTask(Task):
    """Networks, data and evaluation of an experiment on whole images.

    A method defines the sizes of its output maps, its points of a person, its objective, and its predictor.
    """

    def __init__(self, config: BottomUpConfig, build: BuildNetwork) -> None:
        self.config: BottomUpConfig = config
        self.build = build
        self.skeleton = get_skeleton(config.data.skeleton)
        self._training_set: BottomUpDataset | None = None
        self.held_out = KeptReading(self._read_held_out, HeldOutImages.files)
        """The validation split, read again only if its files have changed."""
        self.sources = find_sources(config.data)
        self.held_out_of = {
            source.name: KeptReading(partial(_read_source, source), HeldOutImages.files)
            for source in self.sources
            if source.val is not None
        }
        """The validation splits of sources, by name."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_training_set": None}  # another process reads the data itself

    def _read_held_out(self) -> HeldOutImages:
        return held_out_images(self.config, partial(self.chosen, training=False))

    def networks(self) -> dict[str, nn.Module]:
        return {"pose": self.build(self.config)}

    @property
    @abstractmethod
    def output_sizes(self) -> tuple[int, ...]:
        """Return the sides of the output maps that need targets."""

    describe: Describe = staticmethod(labeled_joints)
    """Person → the method's points (rows) and area."""
    recolor: Recolor | None = None
    """Color augmentation of training."""

    @abstractmethod
    def predictor(self, network: nn.Module, device: torch.device) -> BottomUpPredictor:
        """Build the predictor of a network."""

    def chosen(self, found: AnnotatedSet, *, training: bool) -> Sequence[ImageRecord]:
        """Return the images of a split to train or evaluate on: by default all of them."""
        return found.records

    def training_set(self) -> BottomUpDataset:
        if self._training_set is None and self.sources:
            records, mixture = self._read_sources()
            self._training_set = self.dataset(records)
            self._training_set.mixture = mixture
        if self._training_set is None:
            found = read_dataset(self.config.data, self.config.data.train, keep_unlabeled=True)
            _warn_of_problems(found)
            self._training_set = self.dataset(self.chosen(found, training=True))
        return self._training_set

    def _read_sources(self) -> tuple[list[ImageRecord], Mixture]:
        """Return the training images of all sources, in the network's joints."""
        records: list[ImageRecord] = []
        counts, people, images = [], [], []
        for source in self.sources:
            found = source.read(source.data.train, keep_unlabeled=True)
            if found.layout.score_entries is None:
                raise ConfigError(
                    f"data.sources, {source.name}: the layout {found.layout.name} does not annotate all people of an "
                    "image, so whole images of it cannot be trained on; remove the source"
                )
            _warn_of_problems(found)
            chosen = [record for record in self.chosen(found, training=True) if is_learned(record)]
            labeled = [person.joints[:, 2] > 0 for record in chosen for person in record.persons if person.num_labeled]
            counts.append(np.array(labeled, dtype=np.int64).reshape(-1, self.skeleton.num_joints).sum(0))
            people.append(len(labeled))
            images.append(len(chosen))
            records += chosen
        mixture = Mixture(
            names=tuple(source.name for source in self.sources),
            weights=tuple(source.weight for source in self.sources),
            joints=self.skeleton.joints,
            labels=np.stack([source.joints.labels for source in self.sources]),
            counts=np.stack(counts),
            people=tuple(people),
            source=np.repeat(np.arange(len(images)), images),
        )
        return records, mixture

    def target_heatmaps(self, batch: WholeBatch) -> Tensor:
        """Return the target heatmaps ``(N, K or more, side, side)`` of a batch, for the last of the output maps."""
        raise ConfigError(f"method {self.config.method!r} has no pictures of its targets")

    def pictures(self, batch: WholeBatch) -> TrainingPictures:
        images, count = batch.images.numpy(), self.skeleton.num_joints
        side = self.output_sizes[-1]
        joints = batch.joints[:, -1, :, :count].numpy() * np.array([images.shape[2] / side, images.shape[1] / side, 1])
        return TrainingPictures(
            images if self.config.data.color == "rgb" else images[..., ::-1],
            joints,
            self.target_heatmaps(batch)[:, :count].numpy(),
            keep_maps(batch.keep, self.output_sizes)[-1].numpy(),
        )

    def dataset(self, records: Sequence[ImageRecord]) -> BottomUpDataset:
        """Return the images of ``records``, augmented for training."""
        data = self.config.data
        return BottomUpDataset(
            records,
            self.skeleton,
            input_size=self.config.model.input_size[0],
            output_sizes=self.output_sizes,
            augment=self.config.augment,
            color=data.color,
            seed=self.config.run.seed,
            on_bad_image=data.on_bad_image,
            max_skipped=data.max_skipped,
            describe=self.describe,
            recolor=self.recolor,
        )

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Score on the validation split, and on those of sources."""
        predictor, config = self.predictor(networks["pose"], device), self.config
        main = evaluate_bottomup(predictor, config, folder, images=self.held_out())

        def evaluate(name: str) -> Evaluation:
            return evaluate_bottomup(predictor, config, folder / "sources" / name, images=self.held_out_of[name]())

        return with_sources(main, {name: partial(evaluate, name) for name in self.held_out_of})


def _warn_of_problems(found: AnnotatedSet) -> None:
    if found.problems and rank_and_world_size()[0] == 0:
        _log.warning("%s:\n%s", found.annotation_file, found.problems.summary())


def _read_source(source: Source) -> HeldOutImages:
    """Read the validation split of a source."""
    found = source.read_held_out(keep_unlabeled=True)
    if found.layout.score_entries is None:
        raise ConfigError(
            f"data.sources, {source.name}: the layout {found.layout.name} has no protocol for whole images; remove its "
            "val"
        )
    found.layout.check_ground_truth(found)
    return HeldOutImages(found, found.layout.score_entries, frozenset())
