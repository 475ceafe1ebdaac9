"""Which network a published file describes, and which package trains it.

The section MODEL.EXTRA is a table of layers. A network here has a name instead, so the table must be that of a network
we have, key by key; anything else is an error that says what differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.parts import uses_parts
from pose_core.plugins.convert.published_values import literal

EXTRA = "MODEL.EXTRA."

ELSEWHERE = ("PRETRAINED_LAYERS", "HEATMAP_SIZE", "SIGMA", "TARGET_TYPE")
"""Keys of MODEL.EXTRA that describe no layer."""


@dataclass
class Network:
    """A network of ours, and what had to be assumed to name it."""

    name: str
    method: str = "lite"
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


PUBLISHED_NAMES = (
    "pose_hrnet", "pose_resnet", "lpn", "mrheat1_pose_resnet", "mrheat2_pose_resnet", "mrfea1_pose_resnet",
    "mrfea2_pose_resnet", "pose_hrnet2", "pose_hourglass",
)  # fmt: skip


def find_network(values: Mapping[str, Any], file_name: str) -> Network:
    """The network of a published file; ``file_name`` decides where the content alone is ambiguous."""
    network = _find_network(values, file_name)
    parts = uses_parts(dict(values))
    if parts and network.method == "mrpose":
        raise ConfigError(f"{file_name}: the sections ASA and STN paste parts, which no network of pose-mrpose knows")
    if parts or values.get("MODEL.NAME") in {"pose_hrnet2", "pose_hourglass"}:
        network.method = "asda"
    return network


def _find_network(values: Mapping[str, Any], file_name: str) -> Network:
    published = str(values.get("MODEL.NAME", "pose_hrnet"))
    table = {key.removeprefix(EXTRA): value for key, value in values.items() if key.startswith(EXTRA)}
    table = {key: literal(value) for key, value in table.items() if key not in ELSEWHERE}
    if published in {"pose_hrnet", "pose_hrnet2"}:  # the same network beside different generators
        return _hrnet(table, file_name)
    if published == "pose_hourglass":
        return _hourglass(values, file_name)
    multi = re.fullmatch(r"(mr(?:heat|fea)[12])_pose_resnet", published)
    if multi or published == "pose_resnet":
        return _resnet(table, str(values.get("MODEL.STYLE", "pytorch")), multi and multi[1], file_name)
    if published == "lpn":
        return _lpn(table, file_name)
    near = get_close_matches(published, PUBLISHED_NAMES, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(PUBLISHED_NAMES)}"
    raise ConfigError(f"{file_name}: MODEL.NAME {published!r} is not known{hint}")


def _hrnet_table(width: int, modules: tuple[int, int, int], blocks: int) -> dict[str, Any]:
    table: dict[str, Any] = {"FINAL_CONV_KERNEL": 1}
    for stage, count in zip((2, 3, 4), modules, strict=True):
        table |= {
            f"STAGE{stage}.NUM_MODULES": count,
            f"STAGE{stage}.NUM_BRANCHES": stage,
            f"STAGE{stage}.BLOCK": "BASIC",
            f"STAGE{stage}.NUM_BLOCKS": [blocks] * stage,
            f"STAGE{stage}.NUM_CHANNELS": [width * 2**branch for branch in range(stage)],
            f"STAGE{stage}.FUSE_METHOD": "SUM",
        }
    return table


HRNET_TABLES = {
    "hrnet_w18_small_v1": _hrnet_table(16, (1, 1, 1), 2),
    "hrnet_w18_small_v2": _hrnet_table(18, (1, 3, 2), 2),
    "hrnet_w32": _hrnet_table(32, (1, 4, 3), 4),
    "hrnet_w48": _hrnet_table(48, (1, 4, 3), 4),
}


def _hrnet(table: Mapping[str, Any], file_name: str) -> Network:
    for key in HRNET_TABLES["hrnet_w32"]:
        if key.startswith("STAGE") and key not in table:
            raise ConfigError(f"{file_name}: pose_hrnet needs {EXTRA}{key}, which tells one HRNet from another")
    name = max(HRNET_TABLES, key=lambda each: _agreement(table, HRNET_TABLES[each]))
    _require(table, HRNET_TABLES[name], name, f"the HRNets here are {', '.join(HRNET_TABLES)}", file_name)
    if name != "hrnet_w18_small_v1":
        return Network(name)
    note = (
        "hrnet_w18_small_v1: layer1 has 4 x 32 planes, which gives the published table's figures; the published code "
        "builds 4 x 64 for this file: model.name=hrnet_w18_small_v1_4x64"
    )
    return Network(name, notes=[note])


def _agreement(table: Mapping[str, Any], known: Mapping[str, Any]) -> int:
    return sum(table.get(key) == value for key, value in known.items())


def _deconvolutions(steps: int) -> dict[str, Any]:
    """The published up-sampling head of so many steps."""
    return {
        "FINAL_CONV_KERNEL": 1,
        "DECONV_WITH_BIAS": False,
        "NUM_DECONV_LAYERS": steps,
        "NUM_DECONV_FILTERS": [256] * steps,
        "NUM_DECONV_KERNELS": [4] * steps,
    }


def _resnet(table: Mapping[str, Any], style: str, design: str | None, file_name: str) -> Network:
    """SimpleBaseline, or a multi-resolution ``design`` of pose-mrpose on the same trunk."""
    if style not in {"pytorch", "caffe"}:
        raise ConfigError(f"{file_name}: MODEL.STYLE is {style!r}; known are pytorch and caffe")
    depths = (50, 101, 152) if style == "caffe" else (18, 34, 50, 101, 152)
    depth = _depth(table, depths, file_name)
    name = f"{design or 'simplebaseline'}_resnet{depth}" + ("_caffe" if style == "caffe" else "")
    _require(table, {**_deconvolutions(3), "NUM_LAYERS": depth}, name, "", file_name)
    if design is None:
        return Network(name)
    return Network(name, "mrpose", notes=["the published scripts test with a flip, whatever TEST.FLIP_TEST says"])


HOURGLASS = {"NSTACKS": ("stacks", 2), "NMODULES": ("modules", 1), "NCHANNELS": ("channels", 256),
             "NREDUCTIONS": ("depth", 4)}  # fmt: skip
"""Keys of MODEL.NET → a keyword of ours and its default."""


def _hourglass(values: Mapping[str, Any], file_name: str) -> Network:
    stated = {}
    for key, (ours, default) in HOURGLASS.items():
        value = values.get(f"MODEL.NET.{key}", default)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{file_name}: MODEL.NET.{key} is {value!r}; expected a positive whole number")
        stated[ours] = value
    defaults = dict(HOURGLASS.values())
    name = f"asda_hourglass_{stated['stacks'] if stated['stacks'] in {2, 8} else 2}"
    implied = defaults | {"stacks": int(name.rpartition("_")[2])}
    options = {key: value for key, value in stated.items() if value != implied[key]}
    note = "the published code starts an hourglass from the framework's weights, whatever MODEL.PRETRAINED names"
    return Network(name, "asda", options, [note])


def _lpn(table: Mapping[str, Any], file_name: str) -> Network:
    depth = _depth(table, (18, 34, 50, 100, 101, 152), file_name)
    # The published code takes every other word for no attention at all.
    attention = str(table.get("ATTENTION"))
    attention = attention if attention in {"GC", "SE"} else "none"
    known = {**_deconvolutions(2), "NUM_LAYERS": depth, "ATTENTION": table.get("ATTENTION")}
    _require(table, known, f"lpn_{depth}", "", file_name)
    options = {} if attention == "GC" else {"attention": attention}
    if depth not in {18, 34}:
        return Network(f"lpn_{depth}", options=options)
    # The files of lpn18 and lpn18h are the same to the byte; the published code built the second for both.
    named = re.search(rf"lpn_?{depth}(h?)(?![0-9a-z])", file_name.lower())
    name = f"lpn_{depth}{'h' if named is None else named[1]}"
    why = "which the published code builds" if named is None else "by the file's name"
    return Network(
        name, options=options, notes=[f"lpn_{depth} and lpn_{depth}h have the same content; taken as {name}, {why}"]
    )


def _depth(table: Mapping[str, Any], known: tuple[int, ...], file_name: str) -> int:
    depth = table.get("NUM_LAYERS", 50)
    if depth not in known:
        raise ConfigError(f"{file_name}: {EXTRA}NUM_LAYERS is {depth!r}; known are {', '.join(map(str, known))}")
    return int(depth)


def _require(table: Mapping[str, Any], known: Mapping[str, Any], name: str, others: str, file_name: str) -> None:
    """Every stated key has the value of the network ``name``."""
    for key, value in table.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise ConfigError(
                f"{file_name}: unknown key {EXTRA}{key}" + (f"; did you mean {EXTRA}{near[0]}?" if near else "")
            )
        stated = list(value) if isinstance(value, tuple) else value
        if stated != known[key]:
            raise ConfigError(
                f"{file_name}: {EXTRA}{key} is {stated!r}; {name} has {known[key]!r}"
                + (f" ({others})" if others else "")
            )
