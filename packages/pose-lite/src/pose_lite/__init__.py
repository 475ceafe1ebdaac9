"""Lightweight top-down pose networks: LPN, small HRNets and soft-argmax decoding."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pose_core.plugins.method import Method, NetworkBuilder

if TYPE_CHECKING:
    from pose_core.plugins.convert.source import Converted, Source


class Lite(Method):
    """LPN, and experiments with LPN, HRNet and SimpleBaseline."""

    name = "lite"
    package = "pose_lite"
    summary = "LPN, small HRNets, soft-argmax (lightweight top-down pose)"
    networks = ("lpn_18", "lpn_18h", "lpn_34", "lpn_34h", "lpn_50", "lpn_100", "lpn_101", "lpn_152")
    published_names = ("lpn", "pose_hrnet", "pose_resnet")
    quickstart = "synthetic_minutes"
    example = "coco_lpn50_256x192"

    def network_builder(self, name: str) -> NetworkBuilder | None:
        if name not in self.networks:
            return None
        from pose_lite.models import lpn

        return partial(lpn, name=name)

    def convert(self, source: Source) -> Converted | None:
        from pose_lite.convert import convert

        return convert(source)


METHOD = Lite()

__all__ = ["METHOD", "Lite"]
