"""A top-down experiment with a second network, a pool of parts, and two players."""

from __future__ import annotations

import logging

import torch
from torch import nn

from pose_asda.adversary import AdversarialObjective
from pose_asda.config import AsdaConfig
from pose_asda.dataset import PartedDataset
from pose_asda.generator import Generator
from pose_asda.parts import PartSampler, read_pool
from pose_core.config import TrainConfig
from pose_core.engine.distributed import current_place
from pose_core.engine.interfaces import Objective
from pose_core.models.initialize import load_trunk
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.device_decode import EncodedCrops
from pose_core.topdown.task import TopDownTask

_log = logging.getLogger(__name__)


class AsdaTask(TopDownTask):
    """With ``generator.placement=none`` it is the core's task: the plain baseline."""

    config: AsdaConfig

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        settings = self.config.generator
        if settings.placement == "adversarial":
            generator = Generator(settings.depth, settings.width)
            if settings.pretrained is not None:
                report = load_trunk(generator, settings.pretrained)
                if current_place()[0] == 0:
                    _log.info("%s", report)
            networks["generator"] = generator
        return networks

    def train_settings(self, network: str) -> TrainConfig:
        """The generator has a plain Adam and a constant rate of its own."""
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

    def people(self) -> TopDownDataset:
        """The training samples without parts."""
        people = super().training_set()
        assert isinstance(people, TopDownDataset)  # the config says that pixels are there
        return people

    def training_set(self) -> TopDownDataset | EncodedCrops:
        if self.config.generator.placement == "none":
            return super().training_set()
        return with_parts(self.people(), self.config)  # type: ignore[return-value]  # its samples have all a crop's have

    def objective(self, device: torch.device) -> Objective:
        if self.config.generator.placement == "none":
            return super().objective(device)
        codec = HeatmapCodec.from_config(self.config)
        return AdversarialObjective(
            codec, self.config.generator, self.config.train.channels_last, self.config.data.pixels
        )


def with_parts(people: TopDownDataset, config: AsdaConfig) -> PartedDataset:
    """People, and parts from the configured pool."""
    parts = config.parts
    return PartedDataset(
        people, sampler_of(config), with_half_body=parts.with_half_body, fewest_joints=parts.fewest_joints
    )


def sampler_of(config: AsdaConfig) -> PartSampler:
    """Draws from the configured pool as the configuration says."""
    parts = config.parts
    pool = read_pool(*parts.files(), skip_missing=config.data.on_bad_image == "skip")
    return PartSampler(
        pool,
        config.model.input_size,
        parts.counts,
        parts.scale_range,
        parts.erode,
        parts.blur,
        config.data.color,
        parts.faithful,
        skip_bad=config.data.on_bad_image == "skip",
    )
