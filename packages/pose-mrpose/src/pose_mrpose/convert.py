"""Convert published experiment files of the multi-resolution networks and of their baseline, SimpleBaseline."""

from __future__ import annotations

from dataclasses import replace

from pose_core.plugins.convert.keys import OTHER_SYSTEMS
from pose_core.plugins.convert.networks import Network, find_resnet
from pose_core.plugins.convert.source import Converted, Source
from pose_core.plugins.convert.topdown import convert_topdown

DESIGNS = {f"{design}_pose_resnet": design for design in ("mrheat1", "mrheat2", "mrfea1", "mrfea2")}
"""MODEL.NAME → the first part of our network name."""
BASELINE = "pose_resnet"
FLIPS = "the published scripts use a flip test, regardless of TEST.FLIP_TEST"


def convert(source: Source) -> Converted | None:
    """Convert a file of a multi-resolution network or of SimpleBaseline; return None for any other."""
    name = source.values.get("MODEL.NAME")
    if name == BASELINE and not any(key.startswith(OTHER_SYSTEMS) for key in source.values):
        return convert_topdown(source, "mrpose", find_resnet)
    design = DESIGNS.get(str(name))
    if design is None:
        return None

    def find(source: Source) -> Network:
        network = find_resnet(source, design)
        return replace(network, notes=(*network.notes, FLIPS))

    return convert_topdown(source, "mrpose", find)
