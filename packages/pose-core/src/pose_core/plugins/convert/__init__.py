"""Published YAML files (upper-case keys) to ours, with a note on every key.

A key is mapped, or known to have no meaning here and why, or unknown, which is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from textwrap import fill
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.bottomup import convert_bottomup, is_bottom_up
from pose_core.plugins.convert.bottomup_keys import WITHOUT_MEANING
from pose_core.plugins.convert.models import ELSEWHERE, EXTRA, Network, find_network
from pose_core.plugins.convert.parts import generator_depth, part_blocks, uses_parts
from pose_core.plugins.convert.published_keys import BOXES_ONLY, FIXED, MEANINGLESS, UNUSED, known_keys
from pose_core.plugins.convert.published_values import Source, gpu_count, literal, wholes

LAYOUTS = {
    "coco": ("coco", "coco17", 17), "mpii": ("mpii", "mpii16", 16), "crowdpose": ("crowdpose", "crowdpose14", 14),
    "lspetmpii": ("lsp_mpii", "lsp_mpii16", 16),
}  # fmt: skip
"""Published name of a data set → our layout, skeleton, number of joints."""


@dataclass
class Converted:
    """Our configuration, and what was done with the published keys."""

    config: dict[str, Any]
    mapped: list[str] = field(default_factory=list)
    meaningless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def render_notes(converted: Converted) -> str:
    """The notes for people to read."""
    lines = ["converted from the published form", "mapped:"]
    mapped = _group((target, key) for key, target in (line.split(" → ") for line in converted.mapped))
    lines += [_paragraph(f"{target} ← {keys}") for target, keys in mapped.items()]
    lines += ["without a meaning here:"]
    reasons = _group((reason, key) for key, reason in (line.split(": ", 1) for line in converted.meaningless))
    lines += [_paragraph(f"{keys}: {reason}") for reason, keys in reasons.items()]
    lines += ["notes:", *map(_paragraph, converted.notes)]
    return "\n".join(lines)


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The keys that share a target or a reason, on one line."""
    groups: dict[str, str] = {}
    for shared, key in pairs:
        groups[shared] = f"{groups[shared]}, {key}" if shared in groups else key
    return groups


def _paragraph(text: str) -> str:
    return fill(text, 110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def convert_published(content: Mapping[str, Any], file_name: str) -> Converted:
    """Convert a published file; ``file_name`` decides where the content alone is ambiguous (lpn18 or lpn18h)."""
    source = Source(content, file_name)
    if is_bottom_up(source.values):
        config, notes = convert_bottomup(source)
        result = Converted(config, notes=notes)
        for key in source.values:
            target = source.went.get(key)
            if target:
                result.mapped.append(f"{key} → {target}")
            else:
                result.meaningless.append(f"{key}: {WITHOUT_MEANING.get(key, 'about the other system')}")
        return result
    _refuse_unknown(source)
    network = find_network(source.values, file_name)
    result = Converted({}, notes=list(network.notes))
    result.config = {
        "method": network.method,
        "name": file_name.removesuffix(".yaml").removesuffix(".yml"),
        "data": _data(source),
        "augment": _augment(source),
        "model": _model(source, network),
        "heatmap": _heatmap(source),
        "train": _train(source, result),
        "test": _test(source),
    }
    if network.method == "asda":
        _add_parts(source, result)
    _account(source, result)
    return result


def _add_parts(source: Source, result: Converted) -> None:
    """What pose-asda says beside the core's blocks."""
    result.config |= part_blocks(source)
    result.config["augment"]["half_body_fewest"] = 3
    if uses_parts(source.values):
        result.notes.append(
            f"the generator beside {source.values.get('MODEL.NAME', 'pose_hrnet')} is a ResNet-"
            f"{generator_depth(source.values)} from ImageNet, which the published code fetched: generator.pretrained"
        )
        result.notes.append(
            "parts are centred and follow data.color; the published code swapped the axes of a part's middle and left "
            "parts RGB: parts.faithful=true"
        )


def _refuse_unknown(source: Source) -> None:
    """A key that no published file has is a mistake, and so is a value that we do not offer."""
    known = known_keys()
    in_extra = {f"{EXTRA}{key.removeprefix('MODEL.')}": key for key in FIXED if key.startswith("MODEL.")}
    for key, value in source.values.items():
        if key not in known and not key.startswith((*UNUSED, EXTRA)):
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{source.file_name}: unknown key {key}{hint}")
        fixed = FIXED.get(in_extra.get(key, key), value)
        if value != fixed:
            raise ConfigError(
                f"{source.file_name}: {key} is {value!r}; here it can only be {fixed!r}, as in every published file"
            )


def _data(source: Source) -> dict[str, Any]:
    dataset = source.text("DATASET.DATASET", "data.layout, data.skeleton", "mpii")
    if dataset not in LAYOUTS:
        raise ConfigError(f"{source.file_name}: DATASET.DATASET {dataset!r} is none of {', '.join(LAYOUTS)}")
    layout, skeleton, expected = LAYOUTS[dataset]
    joints = source.whole("MODEL.NUM_JOINTS", "data.skeleton", 16 if source.is_old else 17)
    if joints != expected:
        raise ConfigError(
            f"{source.file_name}: MODEL.NUM_JOINTS is {joints}, but {dataset} has the {expected} joints of {skeleton}"
        )
    root = source.text("DATASET.ROOT", "data.root", "").rstrip("/") or f"data/{layout}"
    data: dict[str, Any] = {
        "layout": layout,
        "root": root,
        "train": source.text("DATASET.TRAIN_SET", "data.train", "train"),
        "val": source.text("DATASET.TEST_SET", "data.val", "valid"),
        "skeleton": skeleton,
        "color": "rgb" if source.flag("DATASET.COLOR_RGB", "data.color", False) else "bgr",
    }
    if layout == "lsp_mpii":
        # Whatever set the published code is asked for but train is one of LSP's; its people are the merged file's val.
        data["val"] = "val"
    if _has_boxes(source):
        data["min_box_score"] = source.number("TEST.IMAGE_THRE", "data.min_box_score", 0.0 if source.is_old else 0.1)
        # Ours are relative to the root.
        detections = source.text("TEST.COCO_BBOX_FILE", "data.detections", "").removeprefix(f"{root}/")
        if detections:
            data["detections"] = detections
    return data


def _has_boxes(source: Source) -> bool:
    """Only COCO and CrowdPose are evaluated on boxes; MPII and LSP have centres and scales of their own."""
    return source.values.get("DATASET.DATASET", "mpii") in {"coco", "crowdpose"}


def _augment(source: Source) -> dict[str, Any]:
    half_body = source.number("DATASET.PROB_HALF_BODY", "augment.half_body", 0.0)
    return {
        "flip": 0.5 if source.flag("DATASET.FLIP", "augment.flip", True) else 0.0,
        "scale": source.number("DATASET.SCALE_FACTOR", "augment.scale", 0.25),
        "rotation": source.number("DATASET.ROT_FACTOR", "augment.rotation", 30),
        "rotation_probability": 0.6,
        # −1 means never.
        "half_body": max(half_body, 0.0),
        "half_body_joints": source.whole("DATASET.NUM_JOINTS_HALF_BODY", "augment.half_body_joints", 8),
    }


def _model(source: Source, network: Network) -> dict[str, Any]:
    model: dict[str, Any] = {
        "name": network.name,
        "input_size": list(source.pair("MODEL.IMAGE_SIZE", "model.input_size", (256, 256))),
        "init": "published" if source.flag("MODEL.INIT_WEIGHTS", "model.init", True) else "framework",
    }
    if network.name.startswith("asda_hourglass"):
        return {**model, "init": "framework", **({"options": network.options} if network.options else {})}
    pretrained = source.text("MODEL.PRETRAINED", "model.pretrained", "")
    if pretrained:
        model["pretrained"] = pretrained
    if network.options:
        model["options"] = network.options
    return model


def _heatmap(source: Source) -> dict[str, Any]:
    width, height = source.pair("MODEL.IMAGE_SIZE", "model.input_size", (256, 256))
    small = source.pair("MODEL.HEATMAP_SIZE", "heatmap.stride", (64, 64))
    stride = max(width // small[0], 1)
    if (small[0] * stride, small[1] * stride) != (width, height):
        raise ConfigError(
            f"{source.file_name}: HEATMAP_SIZE {list(small)} is not IMAGE_SIZE [{width}, {height}] divided by a stride"
        )
    soft = source.flag("TEST.SOFT_ARGMAX", "heatmap.decode", False)
    return {
        "stride": stride,
        "sigma": source.number("MODEL.SIGMA", "heatmap.sigma", 2.0),
        "target": "quantised",
        "convention": "published",
        "decode": "soft_argmax" if soft else "argmax",
        "quarter": source.flag("TEST.POST_PROCESS", "heatmap.quarter", source.is_old),
        "bias": source.number("TEST.BIAS", "heatmap.bias", 0.0),
    }


def _train(source: Source, result: Converted) -> dict[str, Any]:
    steps = source.take("TRAIN.LR_STEP", "train.milestones", [90, 110], wholes)
    optimizer = source.text("TRAIN.OPTIMIZER", "train.optimizer", "adam").lower()
    decay = source.number("TRAIN.WD", "train.weight_decay", 1e-4)
    if optimizer == "adam" and decay:
        result.notes.append(f"WD {decay:g} was never applied with Adam by the published code: weight_decay is 0")
    return {
        "epochs": _epochs(source, steps, result),
        "batch_size": _batch_size(source, result),
        "optimizer": optimizer,
        "lr": source.number("TRAIN.LR", "train.lr", 1e-3),
        "weight_decay": 0.0 if optimizer == "adam" else decay,
        "momentum": source.number("TRAIN.MOMENTUM", "train.momentum", 0.9),
        "nesterov": source.flag("TRAIN.NESTEROV", "train.nesterov", False),
        "schedule": "multistep",
        "milestones": steps,
        "factor": source.number("TRAIN.LR_FACTOR", "train.factor", 0.1),
        "workers": source.whole("WORKERS", "train.workers", 4),
        "log_every": source.whole("PRINT_FREQ", "train.log_every", 20),
        "sync_bn": source.flag("MODEL.SYNC_BN", "train.sync_bn", False),
    }


def _epochs(source: Source, steps: list[int], result: Converted) -> int:
    begin = source.whole("TRAIN.BEGIN_EPOCH", "train.epochs", 0)
    end = source.whole("TRAIN.END_EPOCH", "train.epochs", 140)
    if end - begin <= 1000:
        return end - begin
    result.notes.append(f"END_EPOCH {end} means until stopped; taken as 40 epochs past the last LR_STEP")
    return max(steps, default=140) + 40


def _batch_size(source: Source, result: Converted) -> int:
    """One figure for all processes together; the published files give it per GPU."""
    each, gpus = _per_gpu(source, "TRAIN", "train.batch_size")
    if gpus > 1:
        result.notes.append(
            f"batch: {each} per GPU on {gpus} GPUs is {each * gpus} as written, taken as train.batch_size; the "
            f"published distributed trainer gave {each * gpus} to each of its processes, {each * gpus * gpus} in all "
            f"on {gpus} GPUs. The learning rate was scaled for neither"
        )
    return each * gpus


def _per_gpu(source: Source, section: str, target: str) -> tuple[int, int]:
    """Samples on one GPU, and how many GPUs the file names."""
    # The lite family's default; the others name their GPUs in every file.
    gpus = source.take("GPUS", "train.batch_size, test.batch_size", 1, gpu_count)
    each = source.whole(f"{section}.BATCH_SIZE", target, 32)
    return source.whole(f"{section}.BATCH_SIZE_PER_GPU", target, each), gpus


def _test(source: Source) -> dict[str, Any]:
    each, gpus = _per_gpu(source, "TEST", "test.batch_size")
    test: dict[str, Any] = {
        "batch_size": each * gpus,
        "boxes": "gt",
        "flip": source.flag("TEST.FLIP_TEST", "test.flip", False),
        "shift_heatmap": source.flag("TEST.SHIFT_HEATMAP", "test.shift_heatmap", source.is_old),
    }
    if not _has_boxes(source):
        # What the published code takes where a file is silent: every joint counts.
        return {**test, "joint_threshold": 0.0}
    truth = source.flag("TEST.USE_GT_BBOX", "test.boxes", False)
    return {
        **test,
        "boxes": "gt" if truth else "detections",
        "joint_threshold": source.number("TEST.IN_VIS_THRE", "test.joint_threshold", 0.0),
        "oks_threshold": source.number("TEST.OKS_THRE", "test.oks_threshold", 0.5),
        "soft_nms": source.flag("TEST.SOFT_NMS", "test.soft_nms", False),
    }


def _account(source: Source, result: Converted) -> None:
    """Every key of the file: where it went, or why it means nothing."""
    is_hourglass = source.values.get("MODEL.NAME") == "pose_hourglass"
    for key in source.values:
        target = source.went.get(key) or _network_target(key, is_hourglass)
        if target:
            result.mapped.append(f"{key} → {target}")
        else:
            result.meaningless.append(f"{key}: {_why_meaningless(key, literal(source.values[key]))}")


def _network_target(key: str, is_hourglass: bool) -> str | None:
    """Keys that were read to find the network's name."""
    if key.startswith("MODEL.NET.") and is_hourglass:
        return "model.name, model.options"
    if key == "MODEL.STYLE" or (key.startswith(EXTRA) and key.removeprefix(EXTRA) not in ELSEWHERE):
        return "model.name"
    return "model.pretrained (all layers of the trunk)" if key == f"{EXTRA}PRETRAINED_LAYERS" else None


def _why_meaningless(key: str, value: Any) -> str:
    if key in MEANINGLESS:
        return MEANINGLESS[key]
    if key == "MODEL.PRETRAINED":
        return "the published code loads no weights into an hourglass"
    if key.startswith(UNUSED):
        return "about a network that this file does not have"
    if key in BOXES_ONLY:
        return "about detected boxes and OKS, which this data set is not evaluated with"
    return f"always {value!r} here"
