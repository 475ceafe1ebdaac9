"""The four tasks: hourglass or associative embedding, each trained without a critic or with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from pose_advpose.adversary import Content, CriticObjective, PlainObjective
from pose_advpose.augment import CropDataset, recolor
from pose_advpose.config import (
    AdversarialConfig,
    AdversarialEmbeddingConfig,
    AdversarialHourglassConfig,
    EmbeddingConfig,
    HourglassConfig,
    stacks_of,
)
from pose_advpose.content import EmbeddingContent, HourglassContent
from pose_advpose.models import Critic, critic
from pose_advpose.predictor import EmbeddingPredictor
from pose_advpose.splits import held_out_ids, keep_split
from pose_core.bottomup.dataset import WholeBatch
from pose_core.bottomup.task import BottomUpTask
from pose_core.config import Experiment, TrainConfig
from pose_core.data.sampler import evaluation_batches, loader_workers, watching_workers, worker_init
from pose_core.engine.distributed import gather_objects, rank_and_world_size
from pose_core.engine.interfaces import BuildNetwork, Evaluation, Objective
from pose_core.errors import ConfigError
from pose_core.layouts.reader import AnnotatedSet
from pose_core.plugins.method import expect
from pose_core.structures import ImageRecord
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.person_table import PersonTable
from pose_core.topdown.task import TopDownTask

CRITIC = "critic"


class AdversarialMixin:
    """The critic's network and optimizer settings, and the objective of both networks.

    The task class computes the content loss, and may set the critic's default size.
    """

    config: Experiment
    critic_modules: int | None = None
    critic_channels: int | None = None

    @property
    def adversarial(self) -> AdversarialConfig | None:
        """The critic's settings; None without a critic."""
        if not isinstance(self.config, AdversarialHourglassConfig | AdversarialEmbeddingConfig):
            return None
        return self.config.adversarial if self.config.adversarial.use else None

    def critic(self, num_joints: int) -> Critic:
        """Build a critic, by default of the pose network's size."""
        assert self.adversarial is not None
        given, options = self.adversarial, self.config.model.options
        return critic(
            num_joints,
            stacks=given.stacks or stacks_of(self.config),
            modules=given.modules or self.critic_modules or options.get("modules", 1),
            channels=given.channels or self.critic_channels or options.get("channels", 256),
            depth=given.depth or options.get("depth", 4),
        )

    def train_settings(self, network: str) -> TrainConfig:
        """Return the training settings of a network: the critic has Adam with a constant learning rate of its own."""
        if network != CRITIC or self.adversarial is None:
            return self.config.train
        own = {
            "optimizer": "adam",
            "lr": self.adversarial.lr,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0,
        }
        return self.config.train.model_copy(update=own)

    def make_objective(self, content: Content, device: torch.device) -> Objective[Any]:
        """Return the objective of the pose network alone, or of pose network and critic."""
        if self.adversarial is None:
            return PlainObjective(content)
        return CriticObjective(content, self.adversarial, device)


class HourglassTask(AdversarialMixin, TopDownTask):
    """One person per crop: task hgpose, and advpose with a critic."""

    config: HourglassConfig

    def __init__(self, config: HourglassConfig, build: BuildNetwork) -> None:
        super().__init__(config, build)
        self.content = HourglassContent(config)

    def networks(self) -> dict[str, nn.Module]:
        # The critic comes second, so that the pose network has the same initial weights with and without it.
        networks = super().networks()
        if self.adversarial is not None:
            networks[CRITIC] = self.critic(self.skeleton.num_joints)
        return networks

    def objective(self, device: torch.device) -> Objective[Any]:
        return self.make_objective(self.content, device)

    def target_heatmaps(self, joints: torch.Tensor) -> torch.Tensor:
        return self.content.labels(joints)

    def dataset(self, people: Sequence[ImageRecord] | PersonTable, *, training: bool) -> TopDownDataset:
        config = self.config
        if not training:
            return super().dataset(people, training=False)
        return CropDataset(
            people,
            self.skeleton,
            input_size=config.model.input_size,
            color=config.data.color,
            convention=config.heatmap.convention,
            augment=config.augment,
            seed=config.run.seed,
            on_bad_image=config.data.on_bad_image,
            max_skipped=config.data.max_skipped,
            reduced_decode=config.train.reduced_decode,
        )

    def evaluate(self, networks: Mapping[str, nn.Module], device: torch.device, folder: Path) -> Evaluation:
        """Evaluate by the layout's protocol, and by the published accuracy, which is measured on heatmaps."""
        evaluation = super().evaluate(networks, device, folder)
        if not evaluation.metrics:  # a test split that keeps its annotations
            return evaluation
        accuracy = self.batch_accuracy(networks["pose"], device)
        line = f"batch PCK (published: peaks of heatmaps against those of labels, no flip) {accuracy:.4f}"
        return replace(
            evaluation,
            metrics={**evaluation.metrics, "batch_pck": accuracy},
            report=f"{evaluation.report}\n{line}",
        )

    @watching_workers()
    @torch.inference_mode()
    def batch_accuracy(self, network: nn.Module, device: torch.device) -> float:
        """Return the mean accuracy of the held-out split's batches of test.batch_size, each with equal weight."""
        rank, world = rank_and_world_size()
        data = self.dataset(self.held_out().records, training=False)
        test = self.config.test
        loader = DataLoader(
            data,
            batch_sampler=evaluation_batches(len(data), test.batch_size, rank, world),
            collate_fn=data.collate,
            num_workers=loader_workers(test.workers),
            worker_init_fn=worker_init,
            generator=torch.Generator(),  # evaluation must not change the training's random state
        )
        was_training = network.training
        network.to(device).eval()
        own = []
        for batch in loader:
            own.append(float(self.content(network, batch.to(device)).metrics["acc"]))
        network.train(was_training)
        accuracies = [value for process in gather_objects(own) for value in process]
        return sum(accuracies) / len(accuracies)


class EmbeddingTask(AdversarialMixin, BottomUpTask):
    """All people of an image: task hgpose-ae, and advpose-ae with a critic."""

    config: EmbeddingConfig
    critic_modules = 1
    critic_channels = 128

    def __init__(self, config: EmbeddingConfig, build: BuildNetwork) -> None:
        super().__init__(config, build)
        augment = config.augment
        if any((augment.hue, augment.saturation, augment.brightness, augment.contrast)):
            self.recolor = partial(recolor, config=augment)
        self.content = EmbeddingContent(config)

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        if self.adversarial is not None:
            networks[CRITIC] = self.critic(self.skeleton.num_joints)
        return networks

    @property
    def output_sizes(self) -> tuple[int, ...]:
        return (self.config.output_side,)

    def target_heatmaps(self, batch: WholeBatch) -> torch.Tensor:
        return self.content.labels(batch.joints[:, 0])

    def chosen(self, found: AnnotatedSet, *, training: bool) -> Sequence[ImageRecord]:
        ids = held_out_ids(self.config.split)
        if ids is not None and self.sources:
            raise ConfigError(
                "split.valid_ids holds out images of data.train, which is not used with data.sources: set "
                "split.valid_ids=null, and data.val to a split of its own"
            )
        kept = keep_split(found.records, ids, training=training, file=found.annotation_file)
        if not training:
            return kept
        # People without joints have no tags to learn, and take none of the heatmap.max_people slots.
        return [replace(record, persons=tuple(p for p in record.persons if p.num_labeled)) for record in kept]

    def objective(self, device: torch.device) -> Objective[Any]:
        return self.make_objective(self.content, device)

    def predictor(self, network: nn.Module, device: torch.device) -> EmbeddingPredictor:
        return EmbeddingPredictor(network, self.config, self.skeleton, device)


def make_task(config: Experiment, build: BuildNetwork) -> HourglassTask | EmbeddingTask:
    """Return the task that a config names."""
    if isinstance(config, HourglassConfig):
        return HourglassTask(config, build)
    return EmbeddingTask(expect(config, EmbeddingConfig), build)
