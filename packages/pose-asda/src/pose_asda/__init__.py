"""Adversarial semantic data augmentation: body parts pasted where they raise a pose network's loss most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pose_core.plugins.method import Command, CommandModule, Method, Microbenchmark, NetworkBuilder, expect

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pose_core.config import Experiment
    from pose_core.engine.interfaces import BuildNetwork, Task
    from pose_core.models.published import Content
    from pose_core.plugins.convert.source import Converted, Source


class Asda(Method):
    """A pose network, and a generator that places the pasted parts."""

    name = "asda"
    package = "pose_asda"
    summary = "adversarial semantic data augmentation for HRNet, SimpleBaseline and hourglass (top-down pose)"
    networks = ("asda_hourglass_2", "asda_hourglass_8", "asda_generator_resnet18", "asda_generator_resnet50")
    published_names = ("pose_hrnet", "pose_hrnet2", "pose_resnet", "pose_hourglass")
    example = "coco_hrnet_w32_256x192_numpart1"
    curves: ClassVar = {
        "loss": "loss of the pose network",
        "accuracy": "training accuracy of the pose network",
        "generator_loss": "loss of the generator (the pose network's, negative)",
    }

    def network_builder(self, name: str) -> NetworkBuilder | None:
        if name not in self.networks:
            return None
        if name.startswith("asda_hourglass"):
            from pose_asda.models import asda_hourglass

            return partial(asda_hourglass, stacks=int(name[-1]))
        from pose_asda.generator import generator

        return partial(generator, depth=18 if name.endswith("18") else 50)

    def schema(self, content: Mapping[str, Any], where: str) -> type[Experiment]:
        from pose_asda.config import AsdaConfig

        return AsdaConfig

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        from pose_asda.config import AsdaConfig
        from pose_asda.task import AsdaTask

        return AsdaTask(expect(config, AsdaConfig), build)

    def commands(self) -> Mapping[str, Command]:
        return {
            "build-parts": Command("cut body parts out of segmented people: the pool to paste from", _build_parts),
            "browse-parts": Command("check a pool of parts and draw a contact sheet of it", _browse_parts),
            "occlude": Command("copy the evaluation images with parts pasted over the people", _occlude),
            "vote": Command("evaluate with the predictions of several scales and stages combined", _vote),
            "visualize": Command("draw crops with parts placed at random and by the generator", _visualize),
            "visualise": Command("the former name of visualize", _visualize),
        }

    def microbenchmarks(self, device: torch.device) -> Iterable[Microbenchmark]:
        from pose_asda.microbenchmarks import microbenchmarks

        return microbenchmarks(device)

    def published_content(
        self, config: Experiment, state: Mapping[str, Tensor], companions: Mapping[str, Mapping[str, Tensor]]
    ) -> Content:
        # Testing loads the first, fine-tuning the second, drawing placements the third.
        from pose_core.models.published import data_parallel

        content = {"state_dict": data_parallel(state), "best_state_dict": state}
        if "generator" in companions:
            content["stn_state_dict"] = data_parallel(companions["generator"])
        return content

    def convert(self, source: Source) -> Converted | None:
        from pose_asda.convert import convert

        return convert(source)

    def convert_plain(self, source: Source) -> Converted | None:
        from pose_asda.convert import convert_plain

        return convert_plain(source)


def _build_parts() -> CommandModule:
    from pose_asda import build_parts

    return build_parts


def _browse_parts() -> CommandModule:
    from pose_asda import browse_parts

    return browse_parts


def _occlude() -> CommandModule:
    from pose_asda import occlude

    return occlude


def _vote() -> CommandModule:
    from pose_asda import vote

    return vote


def _visualize() -> CommandModule:
    from pose_asda import visualize

    return visualize


METHOD = Asda()

__all__ = ["METHOD", "Asda"]
