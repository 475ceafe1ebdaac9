"""Bottom-Up HRNet (heatmap-guided regression), and DEKR, its successor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pose_core.plugins.method import Command, CommandModule, Method, Microbenchmark, NetworkBuilder, expect

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pose_core.config import Experiment
    from pose_core.engine.interfaces import BuildNetwork, PosePredictor, Task
    from pose_core.plugins.convert.source import Converted, Source
    from pose_core.skeleton import Skeleton


class Dekr(Method):
    """Bottom-Up HRNet, its higher-resolution variant, and DEKR."""

    name = "dekr"
    package = "pose_dekr"
    summary = "Bottom-Up HRNet and DEKR: multi-person pose by regression from person centers"
    networks = (
        "bottomup_hrnet_w32",
        "bottomup_hrnet_w48",
        "bottomup_higher_hrnet_w48",
        "dekr_hrnet_w32",
        "dekr_hrnet_w48",
    )
    published_names = ("pose_hrnet", "pose_higher_hrnet", "hrnet_dekr")
    example = "coco_dekr_w32_512"

    def network_builder(self, name: str) -> NetworkBuilder | None:
        if name not in self.networks:
            return None
        from pose_dekr.models import bottomup_hrnet, dekr_hrnet

        width = int(name[-2:])
        if name.startswith("dekr"):
            return partial(dekr_hrnet, width=width)
        return partial(bottomup_hrnet, width=width, higher="higher" in name)

    def schema(self, content: Mapping[str, Any], where: str) -> type[Experiment]:
        from pose_dekr.config import DekrConfig

        return DekrConfig

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        from pose_dekr.config import DekrConfig
        from pose_dekr.task import DekrTask

        return DekrTask(expect(config, DekrConfig), build)

    def predictor(
        self, network: nn.Module, config: Experiment, skeleton: Skeleton, device: torch.device
    ) -> PosePredictor:
        from pose_dekr.config import DekrConfig
        from pose_dekr.predictor import DekrPredictor

        return DekrPredictor(network, expect(config, DekrConfig), skeleton, device)

    def commands(self) -> Mapping[str, Command]:
        return {
            "rescore-data": Command("collect training data for a scoring network", _rescore_data),
            "rescore-convert": Command("convert the published code's training data for it", _rescore_convert),
            "rescore-train": Command("train a scoring network", _rescore_train),
        }

    def microbenchmarks(self, device: torch.device) -> Iterable[Microbenchmark]:
        from pose_dekr.microbenchmarks import microbenchmarks

        return microbenchmarks(device)

    def convert(self, source: Source) -> Converted | None:
        from pose_dekr.convert import convert

        return convert(source)


def _rescore_data() -> CommandModule:
    from pose_dekr import rescore_data

    return rescore_data


def _rescore_convert() -> CommandModule:
    from pose_dekr import rescore_convert

    return rescore_convert


def _rescore_train() -> CommandModule:
    from pose_dekr import rescore_train

    return rescore_train


METHOD = Dekr()

__all__ = ["METHOD", "Dekr"]
