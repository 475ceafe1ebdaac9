"""Stacked hourglass, associative embedding, and self-adversarial training of both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pose_core.plugins.method import Command, CommandModule, Method, Microbenchmark, NetworkBuilder, Switch

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pose_core.config import Experiment
    from pose_core.engine.interfaces import BuildNetwork, PosePredictor, Task
    from pose_core.models.published import Content
    from pose_core.skeleton import Skeleton


class AdvPose(Method):
    """Four tasks: hourglass or associative embedding, each trained without a critic or with one."""

    name = "advpose"
    package = "pose_advpose"
    summary = "stacked hourglass and associative embedding, and their training against a critic"
    example = "coco_advpose_ae_stack4_512x512"
    networks = (
        *(f"hg_stack{stacks}" for stacks in (1, 2, 4, 8)),
        *(f"hg_ae_stack{stacks}" for stacks in (1, 2, 4)),
        "hg_ae_posenet_stack4",
        *(f"ae_hrnet_w{width}" for width in (32, 48)),
        *(f"ae_resnet{depth}" for depth in (50, 101, 152)),
        *(f"higherhrnet_w{width}" for width in (32, 48)),
        "advpose_discriminator",
        "advpose_ae_discriminator",
    )
    """Published numbers of stacks; names with any other number work as well."""
    curves: ClassVar = {
        "acc": "training accuracy (batch PCK)",
        "loss": "training loss",
        "kt": "balance k between pose network and critic",
        "loss_d_real": "critic's error on real heatmaps (loss_d_real)",
        "loss_d_fake": "critic's error on predictions (loss_d_fake)",
    }
    switches: ClassVar = {
        "no-adversarial": Switch(
            "adversarial.use=false", "advpose, advpose-ae: train the same network on the same data without the critic"
        )
    }

    def network_builder(self, name: str) -> NetworkBuilder | None:
        # The original code calls the embedding network posenet.
        hourglass = re.fullmatch(r"(hg|hg_ae|hg_ae_posenet)_stack(\d+)", name)
        if hourglass is not None:
            from pose_advpose import models

            stacks = int(hourglass[2])
            if hourglass[1] == "hg":
                return partial(models.hourglass, stacks=stacks)
            return partial(models.hourglass_ae, stacks=stacks, original=hourglass[1] == "hg_ae_posenet")
        if name not in self.networks:
            return None
        trunk = re.fullmatch(r"(ae_hrnet_w|ae_resnet|higherhrnet_w)(\d+)", name)
        if trunk is not None:
            from pose_advpose import hrnet

            if trunk[1] == "ae_resnet":
                return partial(hrnet.embedding_resnet, depth=int(trunk[2]))
            builder = hrnet.embedding_hrnet if trunk[1] == "ae_hrnet_w" else hrnet.higher_hrnet
            return partial(builder, width=int(trunk[2]))
        from pose_advpose.models import critic

        modules, channels = (1, 128) if "_ae_" in name else (2, 256)
        return partial(critic, stacks=4, modules=modules, channels=channels)

    def schema(self, content: Mapping[str, Any], where: str) -> type[Experiment]:
        from pose_advpose.config import schema

        return schema(content, where)

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        from pose_advpose.task import make_task

        return make_task(config, build)

    def predictor(
        self, network: nn.Module, config: Experiment, skeleton: Skeleton, device: torch.device
    ) -> PosePredictor:
        from pose_advpose.config import EmbeddingConfig
        from pose_advpose.predictor import EmbeddingPredictor

        if isinstance(config, EmbeddingConfig):
            return EmbeddingPredictor(network, config, skeleton, device)
        return super().predictor(network, config, skeleton, device)

    def published_content(
        self, config: Experiment, state: Mapping[str, Tensor], companions: Mapping[str, Mapping[str, Tensor]]
    ) -> Content:
        from pose_advpose.published import published_content

        return published_content(config, state, companions)

    def commands(self) -> Mapping[str, Command]:
        return {
            "build-lsp-mpii": Command(
                "make lsp_mpii.h5 from the official annotations of MPII and LSP", _build_lsp_mpii
            ),
            "browse-heatmaps": Command(
                "draw targets, predictions, and the critic's reconstructions of both", _browse_heatmaps
            ),
        }

    def microbenchmarks(self, device: torch.device) -> Iterable[Microbenchmark]:
        from pose_advpose.microbenchmarks import microbenchmarks

        return microbenchmarks(device)


def _build_lsp_mpii() -> CommandModule:
    from pose_advpose import build_lsp_mpii

    return build_lsp_mpii


def _browse_heatmaps() -> CommandModule:
    from pose_advpose import browse_heatmaps

    return browse_heatmaps


METHOD = AdvPose()

__all__ = ["METHOD", "AdvPose"]
