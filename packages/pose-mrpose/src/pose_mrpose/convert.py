"""Convert published experiment files of the multi-resolution networks and of their baseline, SimpleBaseline."""

from __future__ import annotations

from dataclasses import replace

from pose_core.plugins.convert.keys import NOT_READ, OTHER_SYSTEMS
from pose_core.plugins.convert.networks import EXTRA, Network, find_resnet
from pose_core.plugins.convert.source import Converted, Source, literal
from pose_core.plugins.convert.topdown import convert_topdown

DESIGNS = {f"{design}_pose_resnet": design for design in ("mrheat1", "mrheat2", "mrfea1", "mrfea2")}
"""MODEL.NAME → the first part of our network name."""
BASELINE = "pose_resnet"
FLIPS = "the published scripts use a flip test, regardless of TEST.FLIP_TEST"
LACKS_WEIGHTS = (
    "the published code does not train without a file of MODEL.PRETRAINED unless INIT_WEIGHTS is false; here the "
    "backbone starts from random weights"
)
STOPS = (
    "the backward pass of the published mrheat1_pose_resnet fails with today's PyTorch, as it adds in place; here it "
    "has the gradient that PyTorch 0.4 computed"
)


def convert(source: Source) -> Converted | None:
    """Convert a file of a multi-resolution network or of SimpleBaseline; return None for any other."""
    name = source.values.get("MODEL.NAME")
    if name == BASELINE and not any(key.startswith(OTHER_SYSTEMS) for key in source.values):
        return _with_notes(source, convert_topdown(source, "mrpose", find_resnet))
    design = DESIGNS.get(str(name))
    if design is None:
        return None

    def find(source: Source) -> Network:
        leave_steps(source, design)
        network = find_resnet(source, design)
        crash = [STOPS] if design == "mrheat1" else []
        if design.startswith("mrfea") and network.name.endswith(("resnet18", "resnet34")):
            crash.append(f"the published {name} stops with 18 and 34 layers, as their first stage has 64 channels")
        return replace(network, notes=(*network.notes, *crash, FLIPS))

    return _with_notes(source, convert_topdown(source, "mrpose", find))


def leave_steps(source: Source, design: str) -> None:
    """Leave what the multi-resolution networks do not read: they always have three transposed convolutions.

    mrfea2 has its own widths, and reads the last of NUM_DECONV_FILTERS only.
    """
    source.unread[f"{EXTRA}NUM_DECONV_LAYERS"] = f"{NOT_READ}: these networks always have three steps"
    filters = literal(source.values.get(f"{EXTRA}NUM_DECONV_FILTERS"))
    if design == "mrfea2" and isinstance(filters, list | tuple) and len(filters) == 3 and filters[2] == 256:
        source.unread[f"{EXTRA}NUM_DECONV_FILTERS"] = f"{NOT_READ} except the last, which is 256 here, too"


def _with_notes(source: Source, converted: Converted) -> Converted:
    model = converted.config["model"]
    if model["init"] == "published" and "pretrained" not in model:
        converted.notes.append(LACKS_WEIGHTS)
    return converted
