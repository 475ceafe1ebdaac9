"""Training and evaluation of a network that predicts heatmaps from a crop of one person."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pose_core.data.kept_reading import KeptReading
from pose_core.engine.distributed import rank_and_world_size
from pose_core.engine.interfaces import BuildNetwork, Evaluation, Objective, Task, TrainingPictures, TrainingSet, Update
from pose_core.errors import DataError
from pose_core.layouts.sources import Source, find_sources, with_sources
from pose_core.ops.normalizing import Pixels, normalize
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.dataset import CropBatch, TopDownDataset
from pose_core.topdown.device_decode import EncodedCrops
from pose_core.topdown.evaluate import HeldOutPeople, crop_dataset, evaluate_topdown, held_out_people
from pose_core.topdown.mixed_table import read_mixed_table
from pose_core.topdown.person_table import PersonTable, read_table

_log = logging.getLogger(__name__)


class HeatmapObjective(Objective[CropBatch]):
    """The squared error of heatmaps."""

    def __init__(self, codec: HeatmapCodec, channels_last: bool = False, pixels: Pixels = "imagenet") -> None:
        self.codec = codec
        self.channels_last = channels_last
        self.pixels = pixels

    def step(self, networks: Mapping[str, nn.Module], batch: CropBatch, update: Update) -> dict[str, Tensor]:
        outputs = networks["pose"](normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last))
        loss, accuracy = self.codec.loss_and_accuracy(outputs, batch.joints)
        update("pose", loss)
        return {"loss": loss, "accuracy": accuracy}


class TopDownTask(Task):
    """Networks, data, objective and evaluation of a top-down experiment.

    A method with its own objective or networks subclasses this and overrides only those methods.
    """

    def __init__(self, config: TopDownConfig, build: BuildNetwork) -> None:
        self.config: TopDownConfig = config
        self.build = build
        self.skeleton = get_skeleton(config.data.skeleton)
        self._people: TopDownDataset | None = None
        self.held_out = KeptReading(self._read_held_out, HeldOutPeople.files)
        """The validation split, read again only if its files have changed."""
        self.sources = find_sources(config.data)
        self.held_out_of = {
            source.name: KeptReading(partial(_read_source, source, config), HeldOutPeople.files)
            for source in self.sources
            if source.val is not None
        }
        """The validation splits of sources, by name."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_people": None}  # another process reads the data itself

    def networks(self) -> dict[str, nn.Module]:
        return {"pose": self.build(self.config)}

    def _read_held_out(self) -> HeldOutPeople:
        return held_out_people(self.config)

    def people(self) -> TopDownDataset:
        """Return the people of the training split as crops, decoded by the loader."""
        if self._people is None:
            width, height = self.config.model.input_size
            mixture = None
            if self.sources:
                table, mixture, problems = read_mixed_table(self.sources, width / height)
            else:
                table, problems = read_table(self.config.data, self.config.data.train, width / height)
            if problems and rank_and_world_size()[0] == 0:
                _log.warning("%s", problems)
            self._people = self.dataset(table, training=True)
            self._people.mixture = mixture
        return self._people

    def training_set(self) -> TrainingSet[Any]:
        people = self.people()
        return EncodedCrops(people) if self.config.train.device_decode else people

    def objective(self, device: torch.device) -> Objective[Any]:
        codec = HeatmapCodec.from_config(self.config)
        return HeatmapObjective(codec, self.config.train.channels_last, self.config.data.pixels)

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Score on the validation split, and on those of sources, with annotated boxes."""
        network, config = networks["pose"], self.config
        main = evaluate_topdown(network, config, device, folder, self.held_out())

        def evaluate(name: str) -> Evaluation:
            return evaluate_topdown(network, config, device, folder / "sources" / name, self.held_out_of[name]())

        return with_sources(main, {name: partial(evaluate, name) for name in self.held_out_of})

    def pictures(self, batch: CropBatch) -> TrainingPictures:
        heatmaps = self.target_heatmaps(batch.joints)
        images = batch.images.numpy()
        return TrainingPictures(
            images if self.config.data.color == "rgb" else images[..., ::-1],
            batch.joints[:, None].numpy(),
            heatmaps.numpy(),
            np.ones((len(heatmaps), *heatmaps.shape[2:]), bool),
        )

    def target_heatmaps(self, joints: Tensor) -> Tensor:
        """Return the target heatmaps ``(N, K, h, w)`` of joints ``(N, K, 3)`` in input pixels, to look at."""
        return HeatmapCodec.from_config(self.config).encode(joints).heatmaps

    def dataset(self, people: Sequence[ImageRecord] | PersonTable, *, training: bool) -> TopDownDataset:
        """Return crops of ``people``, augmented for training or plain."""
        return crop_dataset(self.config, people, training=training)


def _read_source(source: Source, config: TopDownConfig) -> HeldOutPeople:
    """Read the validation split of a source."""
    found = source.read_held_out()
    if not found.num_persons:
        raise DataError(f"{found.annotation_file} has no annotated people to evaluate source {source.name} on")
    found.layout.check_ground_truth(found)
    return HeldOutPeople(
        found, found.records, "ground-truth", crop_dataset(config, found.records, training=False), None
    )
