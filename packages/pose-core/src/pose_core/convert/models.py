"""Which network a published file describes, and which package trains it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pose_core.errors import ConfigError

FOREIGN = {
    "asda": "install pose-asda once it is built; without its ASA and STN sections the file converts as it is",
    "dekr": "install pose-dekr once it is built",
    "mrpose": "install pose-mrpose once it is built; with MODEL.NAME pose_resnet the file converts as it is",
}
"""Methods whose own package reads their files."""

_HRNETS = {
    # Widths of stage 4 and modules per stage identify a stage table.
    ((16, 32, 64, 128), (1, 1, 1)): "hrnet_w18_small_v1",
    ((18, 36, 72, 144), (1, 3, 2)): "hrnet_w18_small_v2",
    ((32, 64, 128, 256), (1, 4, 3)): "hrnet_w32",
    ((48, 96, 192, 384), (1, 4, 3)): "hrnet_w48",
}


def foreign_method(values: Mapping[str, Any]) -> str | None:
    """The package a file needs, where it is not one of the top-down files that the core converts."""
    published = str(values.get("MODEL.NAME", "pose_hrnet"))
    bottom_up = ("DATASET.OFFSET_RADIUS", "RESCORE.", "TEST.FLIP_TEST_", "DATASET.MAX_NUM_PEOPLE")
    if published.startswith(("hrnet_dekr", "pose_higher")) or any(key.startswith(bottom_up) for key in values):
        return "dekr"
    if published.startswith("mr"):
        return "mrpose"
    if any(key.startswith(("ASA.", "STN.")) for key in values) or published in {"pose_hrnet2", "pose_hourglass"}:
        return "asda"
    return None


def model_name(values: Mapping[str, Any], file_name: str) -> tuple[str, str, list[str]]:
    """The network's name, the method, and what had to be assumed."""
    published = str(values.get("MODEL.NAME", "pose_hrnet"))
    if published == "pose_hrnet":
        name, method = _hrnet(values, file_name)
        note = "w18_small_v1: layer1 has 4 x 32 planes, as the published table counts; the published code builds 4 x 64"
        return name, method, [note] if name == "hrnet_w18_small_v1" else []
    if published == "pose_resnet":
        depth = values.get("MODEL.EXTRA.NUM_LAYERS", values.get("MODEL.NUM_LAYERS", 50))
        style = "_caffe" if values.get("MODEL.STYLE") == "caffe" else ""
        return f"simplebaseline_resnet{depth}{style}", "lite", []
    if published == "lpn":
        return _lpn(values, file_name)
    raise ConfigError(
        f"{file_name}: MODEL.NAME {published!r} is not known; known are pose_hrnet, pose_resnet and lpn"
        + ("" if "MODEL.NAME" in values else " (the file has no MODEL.NAME)")
    )


def _hrnet(values: Mapping[str, Any], file_name: str) -> tuple[str, str]:
    def stage(number: int, key: str) -> Any:
        try:
            return values[f"MODEL.EXTRA.STAGE{number}.{key}"]
        except KeyError:
            raise ConfigError(
                f"{file_name}: pose_hrnet needs MODEL.EXTRA.STAGE{number}.{key}, which tells one HRNet from another"
            ) from None

    table = (tuple(stage(4, "NUM_CHANNELS")), tuple(int(stage(n, "NUM_MODULES")) for n in (2, 3, 4)))
    if table not in _HRNETS:
        raise ConfigError(f"{file_name}: no HRNet here has the widths {table[0]} and modules {table[1]}")
    return _HRNETS[table], "lite"


def _lpn(values: Mapping[str, Any], file_name: str) -> tuple[str, str, list[str]]:
    depth = str(values.get("MODEL.EXTRA.NUM_LAYERS", 50))
    if depth not in {"18", "34"}:
        return f"lpn_{depth}", "lite", []
    # The files of lpn18 and lpn18h are the same to the byte; the published code built the second for both.
    named = re.search(rf"lpn_?{depth}(h?)", file_name)
    half = "h" if named is None else named[1]
    if named is None:
        text = (
            f"lpn_{depth} and lpn_{depth}h have the same file; taken as lpn_{depth}h, which the published code builds"
        )
    else:
        text = f"lpn_{depth} and lpn_{depth}h have the same file; its name says lpn_{depth}{half}"
    return f"lpn_{depth}{half}", "lite", [text]
