"""Convert published experiment files of LPN, HRNet and SimpleBaseline."""

from __future__ import annotations

import re

from pose_core.plugins.convert.keys import NOT_READ, OTHER_SYSTEMS
from pose_core.plugins.convert.networks import (
    EXTRA,
    Network,
    deconvolutions,
    find_depth,
    find_hrnet,
    find_resnet,
    layer_table,
    leave_layers,
    require_layers,
)
from pose_core.plugins.convert.source import Converted, Source
from pose_core.plugins.convert.topdown import convert_topdown


def convert(source: Source) -> Converted | None:
    """Convert a file of LPN, HRNet or SimpleBaseline; return None for any other."""
    finders = {"lpn": find_lpn, "pose_hrnet": find_hrnet, "pose_resnet": find_resnet}
    find = finders.get(str(source.values.get("MODEL.NAME", "pose_hrnet")))
    if find is None or any(key.startswith(OTHER_SYSTEMS) for key in source.values):
        return None
    converted = convert_topdown(source, "lite", find)
    if not source.is_old and converted.config["data"]["layout"] == "mpii":
        converted.notes.append(
            "the published code of the lightweight networks stops at the first evaluation on MPII; here it is evaluated"
        )
    return converted


def find_lpn(source: Source) -> Network:
    """Return the LPN that a file describes; its name decides where two have the same content."""
    leave_layers(source, {**deconvolutions(2), "NUM_LAYERS": 50, "ATTENTION": "GC"})
    source.unread[f"{EXTRA}PRETRAINED_LAYERS"] = NOT_READ
    table, file_name = layer_table(source), source.file_name
    depth = find_depth(table, (18, 34, 50, 100, 101, 152), file_name)
    # The published code takes any other value as no attention.
    attention = str(table.get("ATTENTION"))
    attention = attention if attention in {"GC", "SE"} else "none"
    known = {**deconvolutions(2), "NUM_LAYERS": depth, "ATTENTION": table.get("ATTENTION")}
    require_layers(source, known, f"lpn_{depth}")
    options = {} if attention == "GC" else {"attention": attention}
    if depth not in {18, 34}:
        return Network(f"lpn_{depth}", options=options)
    # The published files of lpn18 and lpn18h are identical; the published code builds lpn_18h for both.
    named = re.search(rf"lpn_?{depth}(h?)(?![0-9a-z])", file_name.lower())
    name = f"lpn_{depth}{'h' if named is None else named[1]}"
    why = "which the published code builds" if named is None else "by the file's name"
    return Network(
        name, options=options, notes=(f"files of lpn_{depth} and lpn_{depth}h do not differ; taken as {name}, {why}",)
    )
