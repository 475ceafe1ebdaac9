"""Convert published files of adversarial data augmentation: a network, and the sections ASA and STN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.networks import Network, find_hrnet, find_resnet
from pose_core.plugins.convert.source import NUMBERS, WHOLES, Converted, Source
from pose_core.plugins.convert.topdown import convert_topdown

PUBLISHED_NAMES = ("pose_hrnet2", "pose_hourglass")
"""Names that only this method's files have: an HRNet with another generator, and the stacked hourglass."""
IMAGENET = {18: "models/pytorch/imagenet/resnet18-5c106cde.pth", 50: "models/pytorch/imagenet/resnet50-19c8e357.pth"}
"""ImageNet weights of the generator's backbone, which the published code downloads."""
OWN_KEYS = (
    "ASA.NUM_AUG", "ASA.SCALE_RANGE", "ASA.PART_ANN_FILE", "ASA.PART_ROOT_DIR", "ASA.ERODE_KERNEL",
    "ASA.GAUSSIAN_KERNEL", "ASA.BOTH_HF_SA", "STN.LR", "STN.STN_FIRST", "STN.NG", "STN.ND",
)  # fmt: skip
PREDECESSOR = {
    f"ASA.{name}": "of an earlier method that searched for placements"
    for name in ("INTERVAL", "LR", "NUM_MODELS", "THETA_GRAD", "USE_SA", "LOAD_THETA", "THETA_PATH", "BETA1", "BETA2")
}
HOURGLASS = {"NSTACKS": ("stacks", 2), "NMODULES": ("modules", 1), "NCHANNELS": ("channels", 256),
             "NREDUCTIONS": ("depth", 4)}  # fmt: skip
"""Keys of MODEL.NET → keyword of `asda_hourglass` and its default."""


def convert(source: Source) -> Converted | None:
    """Convert a file that pastes parts, or has a network of `PUBLISHED_NAMES`; return None for any other."""
    name = str(source.values.get("MODEL.NAME", "pose_hrnet"))
    with_parts = uses_parts(source.values)
    if not with_parts and name not in PUBLISHED_NAMES:
        return None
    meaningless = dict(PREDECESSOR)
    find: Callable[[Source], Network]
    if name in {"pose_hrnet", "pose_hrnet2"}:  # the same network with different generators
        find = find_hrnet
    elif name == "pose_resnet":
        find = find_resnet
    elif name == "pose_hourglass":
        find = find_hourglass
        meaningless["MODEL.PRETRAINED"] = "the published code loads no weights into an hourglass"
    else:
        raise ConfigError(
            f"{source.file_name}: ASA and STN paste parts, which is not supported for MODEL.NAME {name!r}; "
            "choose pose_hrnet, pose_hrnet2, pose_resnet or pose_hourglass"
        )
    parts = part_blocks(source)
    result = convert_topdown(source, "asda", find, own_keys=OWN_KEYS, meaningless=meaningless)
    result.config |= parts
    result.config["augment"]["half_body_min"] = 3
    if with_parts:
        result.notes.append(
            f"the generator of {name} is a ResNet-{generator_depth(source.values)} with ImageNet weights, which the "
            "published code downloads; set generator.pretrained to your file"
        )
        result.notes.append(
            "parts are centered and have the channel order of data.color; those of the published code are off center "
            "and always RGB: parts.compat=true"
        )
    return result


def find_hourglass(source: Source) -> Network:
    """Return the stacked hourglass that a file describes."""
    stated = {}
    for key, (ours, default) in HOURGLASS.items():
        value = source.values.get(f"MODEL.NET.{key}", default)
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{source.file_name}: MODEL.NET.{key} is {value!r}; expected a positive whole number")
        stated[ours] = value
    for key in source.values:
        if key.startswith("MODEL.NET."):
            source.went[key] = "model.name, model.options"
    defaults = dict(HOURGLASS.values())
    name = f"asda_hourglass_{stated['stacks'] if stated['stacks'] in {2, 8} else 2}"
    implied = defaults | {"stacks": int(name.rpartition("_")[2])}
    options = {key: value for key, value in stated.items() if value != implied[key]}
    note = "the published code starts an hourglass from PyTorch's random weights, regardless of MODEL.PRETRAINED"
    return Network(name, options, (note,))


def uses_parts(values: dict[str, Any]) -> bool:
    """Return whether a file is an experiment with pasted parts."""
    return any(key.startswith(("ASA.", "STN.")) for key in values)


def generator_depth(values: dict[str, Any]) -> int:
    """Return the depth of the published generator: ResNet-50 for pose_hrnet, ResNet-18 for the other networks."""
    return 50 if values.get("MODEL.NAME", "pose_hrnet") == "pose_hrnet" else 18


def part_blocks(source: Source) -> dict[str, Any]:
    """Return the blocks ``parts`` and ``generator``, with published defaults for keys that the file lacks."""
    if not uses_parts(source.values):
        return {"generator": {"placement": "none"}}
    depth = generator_depth(source.values)
    annotations = source.text("ASA.PART_ANN_FILE", "parts.annotations", "./lip/parts_filter_done/part_anns.json")
    root = source.text("ASA.PART_ROOT_DIR", "parts.root", "./lip/parts_filter_done/").rstrip("/").removeprefix("./")
    annotations = annotations.removeprefix("./")
    parts: dict[str, Any] = {"annotations": annotations}
    if root != annotations.rpartition("/")[0]:
        parts["root"] = root
    has_many_joints = source.values.get("DATASET.DATASET", "mpii") in {"coco", "crowdpose"}
    return {
        "parts": {
            **parts,
            "counts": source.take("ASA.NUM_AUG", "parts.counts", [0, 2, 4, 6, 8], WHOLES),
            "scale_range": source.take("ASA.SCALE_RANGE", "parts.scale_range", [0.7, 1.3], NUMBERS),
            "erode": list(source.pair("ASA.ERODE_KERNEL", "parts.erode", (13, 13))),
            "blur": list(source.pair("ASA.GAUSSIAN_KERNEL", "parts.blur", (15, 15))),
            "with_half_body": source.flag("ASA.BOTH_HF_SA", "parts.with_half_body", True),
            "min_joints": 8 if has_many_joints else 0,
        },
        "generator": {
            "placement": "adversarial",
            "depth": depth,
            "pretrained": IMAGENET[depth],
            "lr": source.number("STN.LR", "generator.lr", 0.01),
            "first": bool(source.whole("STN.STN_FIRST", "generator.first", 0)),
            "steps": source.whole("STN.NG", "generator.steps", 1),
            "pose_steps": source.whole("STN.ND", "generator.pose_steps", 1),
        },
    }
