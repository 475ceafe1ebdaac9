"""Simple multi-resolution representation learning: heatmaps or features of several resolutions on a ResNet."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pose_core.plugins.method import Command, CommandModule, Method, NetworkBuilder, expect

if TYPE_CHECKING:
    from torch import Tensor

    from pose_core.config import Experiment
    from pose_core.engine.interfaces import BuildNetwork, Task
    from pose_core.models.published import Content
    from pose_core.plugins.convert.source import Converted, Source

_STYLES = (("", "pytorch", (18, 34, 50, 101, 152)), ("_caffe", "caffe", (50, 101, 152)))
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    f"mr{kind}{version}_resnet{depth}{suffix}": (kind, {"version": version, "depth": depth, "style": style})
    for kind in ("heat", "fea")
    for version in (1, 2)
    for suffix, style, depths in _STYLES
    for depth in depths
}
"""Name of a network → its kind, and the keywords of `mrheat` or `mrfea`."""


class MRPose(Method):
    """MRHeatNet 1 and 2, MRFeaNet 1 and 2."""

    name = "mrpose"
    package = "pose_mrpose"
    summary = "MRHeatNet 1 and 2, MRFeaNet 1 and 2, compared with SimpleBaseline (top-down pose)"
    networks = tuple(NETWORKS)
    published_names = (
        "mrheat1_pose_resnet", "mrheat2_pose_resnet", "mrfea1_pose_resnet", "mrfea2_pose_resnet", "pose_resnet"
    )  # fmt: skip
    example = "coco_mrfea2_resnet50_256x192"

    def network_builder(self, name: str) -> NetworkBuilder | None:
        if name not in NETWORKS:
            return None
        from pose_mrpose.models import mrfea, mrheat

        kind, keywords = NETWORKS[name]
        return partial(mrheat if kind == "heat" else mrfea, **keywords)

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        from pose_core.topdown.config import TopDownConfig
        from pose_mrpose.task import MRPoseTask

        return MRPoseTask(expect(config, TopDownConfig), build)

    def commands(self) -> Mapping[str, Command]:
        return {"compare": Command("compare networks in one table: size, cost, speed, accuracy", _compare)}

    def published_content(
        self, config: Experiment, state: Mapping[str, Tensor], companions: Mapping[str, Mapping[str, Tensor]]
    ) -> Content:
        # valid.sh loads names with the prefix, valid_baseline.sh those without: SimpleBaseline's.
        from pose_core.models.published import data_parallel

        return data_parallel(state) if config.model.name in NETWORKS else state

    def convert(self, source: Source) -> Converted | None:
        from pose_mrpose.convert import convert

        return convert(source)


def _compare() -> CommandModule:
    from pose_mrpose import compare

    return compare


METHOD = MRPose()

__all__ = ["METHOD", "MRPose"]
