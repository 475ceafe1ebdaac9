"""The core's network that a published file describes.

The section MODEL.EXTRA is a table of layers. A network here has a name instead, so the keys that its published code
reads must equal those of a known network; any other value is an error that names the difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import NOT_READ, TRUNK
from pose_core.plugins.convert.source import Source, literal
from pose_core.suggestions import did_you_mean

EXTRA = "MODEL.EXTRA."

ELSEWHERE = ("PRETRAINED_LAYERS", "HEATMAP_SIZE", "SIGMA", "TARGET_TYPE")
"""Keys of MODEL.EXTRA that describe no layer."""


@dataclass(frozen=True)
class Network:
    """A network of this project, and notes on what was assumed to identify it."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def layer_table(source: Source) -> dict[str, Any]:
    """Return the layer settings of MODEL.EXTRA."""
    stated = {
        key: value for key, value in source.values.items() if key.startswith(EXTRA) and not source.why_unread(key)
    }
    table = {key.removeprefix(EXTRA): literal(value) for key, value in stated.items()}
    return {key: value for key, value in table.items() if key not in ELSEWHERE}


def _hrnet_table(width: int, modules: tuple[int, int, int], blocks: int) -> dict[str, Any]:
    table: dict[str, Any] = {"FINAL_CONV_KERNEL": 1}
    for stage, count in zip((2, 3, 4), modules, strict=True):
        table |= {
            f"STAGE{stage}.NUM_MODULES": count,
            f"STAGE{stage}.NUM_BRANCHES": stage,
            f"STAGE{stage}.BLOCK": "BASIC",
            f"STAGE{stage}.NUM_BLOCKS": [blocks] * stage,
            f"STAGE{stage}.NUM_CHANNELS": [width * 2**branch for branch in range(stage)],
        }
    return table


HRNET_TABLES = {
    "hrnet_w18_small_v1": _hrnet_table(16, (1, 1, 1), 2),
    "hrnet_w18_small_v2": _hrnet_table(18, (1, 3, 2), 2),
    "hrnet_w32": _hrnet_table(32, (1, 4, 3), 4),
    "hrnet_w48": _hrnet_table(48, (1, 4, 3), 4),
}


FUSE_METHOD = f"{NOT_READ}: its branches are always added"


def find_hrnet(source: Source) -> Network:
    """Return the HRNet of a file with ``MODEL.NAME: pose_hrnet``."""
    leave_layers(source, HRNET_TABLES["hrnet_w32"])
    source.unread |= {f"{EXTRA}STAGE{stage}.FUSE_METHOD": FUSE_METHOD for stage in (2, 3, 4)}
    require_whole_trunk(source, f"{EXTRA}PRETRAINED_LAYERS")
    table, file_name = layer_table(source), source.file_name
    for key in HRNET_TABLES["hrnet_w32"]:
        if key.startswith("STAGE") and key not in table:
            raise ConfigError(f"{file_name}: pose_hrnet needs {EXTRA}{key}, which identifies the HRNet")
    name = max(HRNET_TABLES, key=lambda each: _agreement(table, HRNET_TABLES[each]))
    require_layers(source, HRNET_TABLES[name], name, f"the HRNets here are {', '.join(HRNET_TABLES)}")
    if name != "hrnet_w18_small_v1":
        return Network(name)
    note = (
        "hrnet_w18_small_v1: layer1 has 4 x 32 planes, which gives the published table's figures; the published code "
        "builds 4 x 64 for this file: model.name=hrnet_w18_small_v1_4x64"
    )
    return Network(name, notes=(note,))


def _agreement(table: Mapping[str, Any], known: Mapping[str, Any]) -> int:
    return sum(table.get(key) == value for key, value in known.items())


def deconvolutions(steps: int) -> dict[str, Any]:
    """Return the settings of the published upsampling head with ``steps`` transposed convolutions."""
    return {
        "FINAL_CONV_KERNEL": 1,
        "DECONV_WITH_BIAS": False,
        "NUM_DECONV_LAYERS": steps,
        "NUM_DECONV_FILTERS": [256] * steps,
        "NUM_DECONV_KERNELS": [4] * steps,
    }


def find_resnet(source: Source, design: str = "simplebaseline") -> Network:
    """Return the network of a ``design`` on the ResNet of a file: SimpleBaseline for ``MODEL.NAME: pose_resnet``."""
    known = {**deconvolutions(3), "NUM_LAYERS": 50}
    leave_layers(source, known)
    source.unread[f"{EXTRA}PRETRAINED_LAYERS"] = NOT_READ
    table, file_name = layer_table(source), source.file_name
    style = str(source.values.get("MODEL.STYLE", "pytorch"))
    if style not in {"pytorch", "caffe"}:
        raise ConfigError(f"{file_name}: MODEL.STYLE is {style!r}; known are pytorch and caffe")
    depth = find_depth(table, (50, 101, 152) if style == "caffe" else (18, 34, 50, 101, 152), file_name)
    name = f"{design}_resnet{depth}" + ("_caffe" if style == "caffe" else "")
    require_layers(source, {**known, "NUM_LAYERS": depth}, name)
    return Network(name)


def find_depth(table: Mapping[str, Any], known: tuple[int, ...], file_name: str) -> int:
    """Return the depth that a table states, which must be one of ``known``."""
    depth = table.get("NUM_LAYERS", 50)
    if depth not in known:
        raise ConfigError(f"{file_name}: {EXTRA}NUM_LAYERS is {depth!r}; known are {', '.join(map(str, known))}")
    return int(depth)


def layer_keys() -> set[str]:
    """Return the keys of MODEL.EXTRA that describe a layer of any of the networks."""
    stages = {f"STAGE{stage}.FUSE_METHOD" for stage in (2, 3, 4)}
    return {*HRNET_TABLES["hrnet_w32"], *stages, *deconvolutions(3), "NUM_LAYERS", "ATTENTION"}


def leave_layers(source: Source, read: Collection[str]) -> None:
    """Leave the layers of other networks than the one that reads the keys ``read``."""
    reason = f"{NOT_READ}: a layer of another network"
    source.unread |= {f"{EXTRA}{key}": reason for key in layer_keys().difference(read)}


def require_layers(source: Source, known: Mapping[str, Any], name: str, others: str = "") -> None:
    """Refuse a file that states another layer than the network ``name`` has."""
    for key, value in layer_table(source).items():
        if key not in known:
            near = did_you_mean(EXTRA + key, (EXTRA + each for each in known), cutoff=0.8)
            raise ConfigError(f"{source.file_name}: unknown key {EXTRA}{key}{near}")
        stated = list(value) if isinstance(value, tuple) else value
        if stated != known[key]:
            raise ConfigError(
                f"{source.file_name}: {EXTRA}{key} is {stated!r}; {name} has {known[key]!r}"
                + (f" ({others})" if others else "")
            )


def require_whole_trunk(source: Source, key: str) -> None:
    """Refuse a list of pretrained layers that leaves out a part of the HRNet, unless the key is not read."""
    if key not in source.values or source.why_unread(key):
        return
    stated = literal(source.values[key])
    names = [str(name) for name in stated] if isinstance(stated, list | tuple) else []
    if names[:1] != ["*"] and not set(TRUNK) <= set(names):
        raise ConfigError(
            f"{source.file_name}: {key} is {stated!r}; here all layers of the backbone are loaded: {', '.join(TRUNK)}"
        )
