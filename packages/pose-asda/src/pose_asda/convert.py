"""Convert the published files of adversarial data augmentation: with pasted parts, and the baselines without.

A file with a section STN pastes parts by a generator. One with a section ASA only may be of an earlier method, which
searched for placements: `parts_placement` says what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pose_asda.published_keys import (
    FOREIGN,
    HOURGLASS,
    HOURGLASS_WEIGHTS,
    NETWORKS,
    OWN_KEYS,
    PLAIN,
    SEARCH,
    SWITCHES,
    unread_keys,
)
from pose_core.errors import ConfigError
from pose_core.plugins.convert.networks import Network, find_hrnet, find_resnet
from pose_core.plugins.convert.source import NUMBERS, WHOLES, Converted, Source
from pose_core.plugins.convert.topdown import convert_topdown

Placement = Literal["adversarial", "random", "none"]
IMAGENET = {18: "models/pytorch/imagenet/resnet18-5c106cde.pth", 50: "models/pytorch/imagenet/resnet50-19c8e357.pth"}
"""ImageNet weights of the generator's backbone, which the published code downloads."""
NO_PARTS = (
    "no parts are pasted (generator.placement=none): the file has no section ASA or STN, as those of the published "
    "train.py. The published train_stn.py trains a generator with the defaults of both; for that, add STN.LR=0.01"
)
EARLIER = (
    "The published train_stn.py never reads the key, and trains a generator; to do so, remove the key and add "
    "STN.LR=0.01"
)
WITHOUT_PARTS = (
    "ASA.USE_SA is false: no parts are pasted (generator.placement=none), as in the earlier method, which has this key."
)
AT_RANDOM = (
    "ASA.THETA_GRAD is false: parts are placed at random (generator.placement=random). In the earlier method, which "
    "has this key, the probabilities of placements are then not learned; it keeps a part near its joint, while here "
    "angle and position are drawn from the whole crop."
)
CROWDPOSE_SIGMAS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.026, 0.026)
"""Sigmas by which the published code suppresses similar poses on CrowdPose: those of head and neck are smaller than in
CrowdPose's evaluation."""
CROWDPOSE_NOTE = (
    "test.oks_sigmas: similar poses are suppressed by smaller sigmas of head and neck than those of CrowdPose's "
    "evaluation, as in the published code; test.oks_sigmas=null takes the same"
)
LSP_NOTE = (
    "LSP and MPII are one file here, which `pose data build-lsp-mpii` builds. The published code reads files of LSP "
    "that were never published, and moves the center down by 15 pixels per scale for the people of LSP, too"
)


def convert(source: Source) -> Converted | None:
    """Convert a file that pastes parts, or has a network that only this repository has; return None for any other."""
    if uses_parts(source) or network_name(source) in set(NETWORKS) - set(PLAIN):
        return _convert(source)
    return None


def convert_plain(source: Source) -> Converted | None:
    """Convert a file of HRNet or SimpleBaseline without parts, unless it has keys of another repository."""
    if network_name(source) in PLAIN and not any(key.startswith(FOREIGN) for key in source.values):
        return _convert(source)
    return None


def network_name(source: Source) -> str:
    """Return MODEL.NAME, or its published default."""
    return str(source.values.get("MODEL.NAME", "pose_hrnet"))


def uses_parts(source: Source) -> bool:
    """Return whether a file has a section about pasted parts."""
    return any(key.startswith(("ASA.", "STN.")) for key in source.values)


def _convert(source: Source) -> Converted:
    name = network_name(source)
    if name not in NETWORKS:
        raise ConfigError(
            f"{source.file_name}: MODEL.NAME {name!r} is not supported; of the networks of this repository, "
            f"{', '.join(NETWORKS)} are"
        )
    placement, notes = parts_placement(source)
    source.unread |= unread_keys(source, placement)
    parts = part_blocks(source, placement)
    tuned = finetuned_from(source)
    find: dict[str, Callable[[Source], Network]] = {"pose_resnet": find_resnet, "pose_hourglass": find_hourglass}
    result = convert_topdown(
        source,
        "asda",
        find.get(name, find_hrnet),
        own_keys=OWN_KEYS,
        # It also has no initialization of its own.
        meaningless={"MODEL.PRETRAINED": HOURGLASS_WEIGHTS} if name == "pose_hourglass" else None,
        batch_note=parallel_note,
    )
    result.config |= parts
    result.config["augment"]["half_body_min"] = 3
    if tuned:
        result.config["model"]["pretrained"] = tuned
    layout = result.config["data"]["layout"]
    if layout == "crowdpose":
        result.config["test"]["oks_sigmas"] = list(CROWDPOSE_SIGMAS)
        notes.append(CROWDPOSE_NOTE)
    if layout == "lsp_mpii":
        notes.append(LSP_NOTE)
    result.notes += notes
    return result


def parts_placement(source: Source) -> tuple[Placement, list[str]]:
    """Return how a file places parts, and notes that say why."""
    file = source.file_name
    earlier = [key for key in source.values if key in SWITCHES or key in SEARCH]
    switches = {key: source.flag(key, "generator.placement", usual) for key, usual in SWITCHES.items()}
    changed = [key for key, usual in SWITCHES.items() if switches[key] != usual]
    if not uses_parts(source):
        return "none", [NO_PARTS]
    if any(key.startswith("STN.") for key in source.values):
        if changed:
            key = changed[0]
            raise ConfigError(
                f"{file}: {key} is {switches[key]}, which an earlier method reads, but STN is a section of training "
                f"with a generator, which never reads it; remove STN, or remove {key} (or add {key}={SWITCHES[key]})"
            )
        return "adversarial", adversarial_notes(source)
    if not earlier:
        default = "the file has no section STN; its published defaults are taken: STN.LR is 0.01"
        return "adversarial", [default, *adversarial_notes(source)]
    if not switches["ASA.USE_SA"]:
        return "none", [f"{WITHOUT_PARTS} {EARLIER}"]
    if switches["ASA.LOAD_THETA"]:
        raise ConfigError(
            f"{file}: ASA.LOAD_THETA: probabilities of placements that an earlier method learned are not supported; "
            "with ASA.LOAD_THETA=False ASA.THETA_GRAD=False parts are placed at random, with ASA.USE_SA=False there "
            "are none"
        )
    if not switches["ASA.THETA_GRAD"]:
        return "random", [f"{AT_RANDOM} {EARLIER}"]
    raise ConfigError(
        f"{file}: {', '.join(earlier)} belong to an earlier method, which searched for placements of parts and is not "
        "supported; add STN.LR=0.01 to train a generator instead, as the published train_stn.py does with this file, "
        "ASA.THETA_GRAD=False to place parts at random, or ASA.USE_SA=False to paste none, which is all that "
        "evaluation needs"
    )


def adversarial_notes(source: Source) -> list[str]:
    """Return notes on the generator and on the faults of the published parts."""
    name = network_name(source)
    return [
        f"the generator of {name} is a ResNet-{generator_depth(name)} with ImageNet weights, which the published code "
        "downloads; to train, set generator.pretrained to your file",
        "parts.compat=true: parts are off center and always RGB, as those of the published code; parts.compat=false "
        "centers them and gives them the channel order of data.color",
    ]


def parallel_note(each: int, gpus: int) -> str:
    """Return the note on a batch that the published code splits over GPUs."""
    return (
        f"batch: {each} per GPU on {gpus} GPUs is {each * gpus}, train.batch_size; batch norm sees {each} at a time in "
        f"the published code, as here in {gpus} processes: torchrun --nproc_per_node={gpus}"
    )


def finetuned_from(source: Source) -> str:
    """Return the file of a whole network's weights that training starts from, or an empty text."""
    if not source.flag("MODEL.FINETUNE", "model.pretrained", False):
        return ""
    path = source.text("MODEL.HTM_MODEL_PATH", "model.pretrained", "")
    if not path:
        raise ConfigError(
            f"{source.file_name}: MODEL.FINETUNE is true, but MODEL.HTM_MODEL_PATH names no file of weights to start "
            "from; set it, or MODEL.FINETUNE=False"
        )
    return path


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
            if key.removeprefix("MODEL.NET.") not in HOURGLASS:
                raise ConfigError(f"{source.file_name}: unknown key {key}; MODEL.NET has {', '.join(HOURGLASS)}")
            source.went[key] = "model.name, model.options"
    defaults = dict(HOURGLASS.values())
    name = f"asda_hourglass_{stated['stacks'] if stated['stacks'] in {2, 8} else 2}"
    implied = defaults | {"stacks": int(name.rpartition("_")[2])}
    options = {key: value for key, value in stated.items() if value != implied[key]}
    return Network(name, options, (HOURGLASS_WEIGHTS,))


def generator_depth(name: str) -> int:
    """Return the depth of the published generator: ResNet-50 for pose_hrnet, ResNet-18 for the other networks."""
    return 50 if name == "pose_hrnet" else 18


def part_blocks(source: Source, placement: Placement) -> dict[str, Any]:
    """Return the blocks ``parts`` and ``generator``, with published defaults for keys that the file lacks."""
    if placement == "none":
        return {"generator": {"placement": "none"}}
    annotations = source.text("ASA.PART_ANN_FILE", "parts.annotations", "./lip/parts_filter_done/part_anns.json")
    root = source.text("ASA.PART_ROOT_DIR", "parts.root", "./lip/parts_filter_done/").rstrip("/").removeprefix("./")
    annotations = annotations.removeprefix("./")
    parts: dict[str, Any] = {"annotations": annotations}
    if root != annotations.rpartition("/")[0]:
        parts["root"] = root
    has_many_joints = source.values.get("DATASET.DATASET", "mpii") in {"coco", "crowdpose"}
    parts |= {
        "counts": source.take("ASA.NUM_AUG", "parts.counts", [0, 2, 4, 6, 8], WHOLES),
        "scale_range": source.take("ASA.SCALE_RANGE", "parts.scale_range", [0.7, 1.3], NUMBERS),
        "erode": list(source.pair("ASA.ERODE_KERNEL", "parts.erode", (13, 13))),
        "blur": list(source.pair("ASA.GAUSSIAN_KERNEL", "parts.blur", (15, 15))),
        "with_half_body": source.flag("ASA.BOTH_HF_SA", "parts.with_half_body", True),
        "min_joints": 8 if has_many_joints else 0,
    }
    if placement == "random":
        return {"parts": parts, "generator": {"placement": "random"}}
    depth = generator_depth(network_name(source))
    return {
        "parts": {**parts, "compat": True},
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
