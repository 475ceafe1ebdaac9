"""The task: a top-down experiment with a pool of parts and a second network, the generator."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pose_asda.adversary import PasteObjective, on_device
from pose_asda.config import AsdaConfig
from pose_asda.dataset import PartBatch, PartedDataset
from pose_asda.generator import Generator
from pose_asda.parts import PartSampler, read_pool
from pose_asda.pixels import to_pixels
from pose_core.config import TrainConfig
from pose_core.engine.distributed import rank_and_world_size
from pose_core.engine.interfaces import Objective, TrainingPictures, TrainingSet
from pose_core.errors import WeightsError
from pose_core.models.initialize import load_backbone
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.dataset import CropBatch, TopDownDataset
from pose_core.topdown.task import TopDownTask

_log = logging.getLogger(__name__)

IMAGENET = {
    18: "https://download.pytorch.org/models/resnet18-5c106cde.pth",
    50: "https://download.pytorch.org/models/resnet50-19c8e357.pth",
}
"""Weights that the published code downloads for the generator's backbone, by its depth."""


class AsdaTask(TopDownTask):
    """A pose network trained on crops with parts; with ``generator.placement=none``, the core's top-down task."""

    config: AsdaConfig

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        settings = self.config.generator
        if settings.placement == "adversarial":
            generator = Generator(settings.depth, settings.width)
            if settings.pretrained is not None:
                if not Path(settings.pretrained).is_file():
                    raise WeightsError(
                        f"generator.pretrained is {settings.pretrained}, which does not exist; to train, set it to "
                        f"ImageNet weights of a ResNet-{settings.depth} ({IMAGENET[settings.depth]}), or to null to "
                        "start from random ones"
                    )
                report = load_backbone(generator, settings.pretrained)
                if rank_and_world_size()[0] == 0:
                    _log.info("%s", report)
            networks["generator"] = generator
        return networks

    def train_settings(self, network: str) -> TrainConfig:
        """Return the settings of a network; the generator has plain Adam with its own, constant learning rate."""
        if network != "generator":
            return self.config.train
        own = {
            "optimizer": "adam",
            "lr": self.config.generator.lr,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0,
        }
        return self.config.train.model_copy(update=own)

    def training_set(self) -> TrainingSet[Any]:
        if self.config.generator.placement == "none":
            return super().training_set()
        return with_parts(self.people(), self.config)

    def objective(self, device: torch.device) -> Objective[Any]:
        if self.config.generator.placement == "none":
            return super().objective(device)
        codec = HeatmapCodec.from_config(self.config)
        return PasteObjective(codec, self.config.generator, self.config.train.channels_last, self.config.data.pixels)

    def pictures(self, batch: CropBatch) -> TrainingPictures:
        """Return the crops with their parts at random places, where the generator begins, too."""
        shown = super().pictures(batch)
        if not isinstance(batch, PartBatch):
            return shown
        settings = self.config.generator.model_copy(update={"placement": "random"})
        objective = PasteObjective(HeatmapCodec.from_config(self.config), settings, pixels=self.config.data.pixels)
        images, texels, boxes = on_device(batch, pixels=self.config.data.pixels)
        pasted = objective.place_and_paste({}, images, texels, boxes, batch.part_types)
        return shown._replace(images=np.stack([to_pixels(image, self.config.data.color) for image in pasted]))


def with_parts(people: TopDownDataset, config: AsdaConfig) -> PartedDataset:
    """Return ``people`` with parts from the configured pool."""
    parts = config.parts
    return PartedDataset(people, sampler_of(config), with_half_body=parts.with_half_body, min_joints=parts.min_joints)


def sampler_of(config: AsdaConfig) -> PartSampler:
    """Return a sampler of the configured pool."""
    parts = config.parts
    data = config.data
    pool = read_pool(*parts.files(), skip_missing=data.on_bad_image == "skip", max_skipped=data.max_skipped)
    return PartSampler(
        pool,
        config.model.input_size,
        parts.counts,
        parts.scale_range,
        parts.erode,
        parts.blur,
        config.data.color,
        parts.compat,
        skip_bad=config.data.on_bad_image == "skip",
    )
