"""Published YAML files (upper-case keys) to ours, with a note on every key.

A key is mapped, or known to have no meaning here and why, or unknown, which is an error.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pose_core.convert.models import FOREIGN, foreign_method, model_name
from pose_core.convert.published_keys import FREE, MEANINGLESS, known_keys
from pose_core.errors import ConfigError

LAYOUTS = {
    "coco": ("coco", "coco17"), "mpii": ("mpii", "mpii16"), "crowdpose": ("crowdpose", "crowdpose14"),
    "crowd_pose": ("crowdpose", "crowdpose14"), "coco_kpt": ("coco", "coco17"),
    "crowd_pose_kpt": ("crowdpose", "crowdpose14"), "lspetmpii": ("lsp_mpii", "lsp_mpii16"),
}  # fmt: skip


@dataclass
class Converted:
    """Our configuration, and what was done with the published keys."""

    config: dict[str, Any]
    mapped: list[str] = field(default_factory=list)
    meaningless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def render_notes(converted: Converted) -> str:
    """The notes for people to read."""
    lines = ["converted from the published form"]
    lines += [f"  mapped       {line}" for line in converted.mapped]
    lines += [f"  no meaning   {line}" for line in converted.meaningless]
    lines += [f"  note         {line}" for line in converted.notes]
    return "\n".join(lines)


def convert_published(content: Mapping[str, Any], file_name: str) -> Converted:
    """Convert a published file; ``file_name`` decides where the content alone is ambiguous (lpn18 or lpn18h)."""
    source = _Source(_flatten(content), file_name)
    foreign = foreign_method(source.values)
    if foreign is not None:
        raise ConfigError(f"{file_name} is an experiment of pose-{foreign}: {FOREIGN[foreign]}")
    _refuse_unknown(source)
    result = Converted({})
    name, method, note = model_name(source.values, file_name)
    result.notes += note
    config: dict[str, Any] = {"method": method, "name": file_name.removesuffix(".yaml").removesuffix(".yml")}
    config["data"] = _data(source, result)
    config["augment"] = _augment(source)
    config["model"] = _model(source, name)
    config["heatmap"] = _heatmap(source)
    config["train"] = _train(source, result)
    config["test"] = _test(source)
    result.config = config
    _account(source, result)
    return result


class _Source:
    """Published values; remembers which key went where."""

    def __init__(self, values: dict[str, Any], file_name: str) -> None:
        self.values = values
        self.file_name = file_name
        self.went: dict[str, str] = {"MODEL.NAME": "model.name", "MODEL.EXTRA": "model.name"}

    def take(self, key: str, target: str, default: Any) -> Any:
        """The value of a key, or the published default; ``MODEL.`` keys are looked for in EXTRA too."""
        for candidate in (key, key.replace("MODEL.", "MODEL.EXTRA.")):
            if candidate in self.values:
                self.went[candidate] = target
                return _literal(self.values[candidate])
        return default


def _literal(value: Any) -> Any:
    """``(0,1,2,3)`` is a tuple written as text."""
    if isinstance(value, str) and value[:1] in "([":
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _data(source: _Source, result: Converted) -> dict[str, Any]:
    dataset = str(source.take("DATASET.DATASET", "data.layout, data.skeleton", "mpii"))
    if dataset not in LAYOUTS:
        raise ConfigError(f"{source.file_name}: DATASET.DATASET {dataset!r} is none of {', '.join(LAYOUTS)}")
    layout, skeleton = LAYOUTS[dataset]
    joints = int(source.take("MODEL.NUM_JOINTS", "data.skeleton", 16))
    if joints != {"coco17": 17, "mpii16": 16, "crowdpose14": 14, "lsp_mpii16": 16}[skeleton]:
        raise ConfigError(
            f"{source.file_name}: MODEL.NUM_JOINTS is {joints}, but {dataset} has the joints of {skeleton}"
        )
    image_format = source.take("DATASET.DATA_FORMAT", "nothing: folders and zip files are told apart by looking", "jpg")
    del image_format
    root = str(source.take("DATASET.ROOT", "data.root", f"data/{layout}")).rstrip("/")
    data: dict[str, Any] = {
        "layout": layout,
        "root": root,
        "train": source.take("DATASET.TRAIN_SET", "data.train", "train"),
        "val": source.take("DATASET.TEST_SET", "data.val", "valid"),
        "skeleton": skeleton,
        "color": "rgb" if source.take("DATASET.COLOR_RGB", "data.color", False) else "bgr",
        "min_box_score": float(source.take("TEST.IMAGE_THRE", "data.min_box_score", 0.0)),
    }
    detections = str(source.take("TEST.COCO_BBOX_FILE", "data.detections", "") or "")
    if detections:
        below = f"{root}/"
        data["detections"] = detections.removeprefix(below)
    return data


def _augment(source: _Source) -> dict[str, Any]:
    flips = bool(source.take("DATASET.FLIP", "augment.flip", True))
    half_body = float(source.take("DATASET.PROB_HALF_BODY", "augment.half_body", 0.0))
    return {
        "flip": 0.5 if flips else 0.0,
        "scale": float(source.take("DATASET.SCALE_FACTOR", "augment.scale", 0.25)),
        "rotation": float(source.take("DATASET.ROT_FACTOR", "augment.rotation", 30)),
        "rotation_probability": 0.6,
        # −1 means never.
        "half_body": max(half_body, 0.0),
        "half_body_joints": int(source.take("DATASET.NUM_JOINTS_HALF_BODY", "augment.half_body_joints", 8)),
    }


def _model(source: _Source, name: str) -> dict[str, Any]:
    width, height = source.take("MODEL.IMAGE_SIZE", "model.input_size", (256, 256))
    model: dict[str, Any] = {"name": name, "input_size": [int(width), int(height)]}
    pretrained = source.take("MODEL.PRETRAINED", "model.pretrained", "")
    if pretrained:
        model["pretrained"] = str(pretrained)
    initialised = source.take("MODEL.INIT_WEIGHTS", "model.init", True)
    model["init"] = "published" if initialised else "framework"
    return model


def _heatmap(source: _Source) -> dict[str, Any]:
    width, height = source.take("MODEL.IMAGE_SIZE", "model.input_size", (256, 256))
    small = source.take("MODEL.HEATMAP_SIZE", "heatmap.stride", (width // 4, height // 4))
    stride = width // int(small[0])
    if (width // stride, height // stride) != (int(small[0]), int(small[1])):
        raise ConfigError(
            f"{source.file_name}: HEATMAP_SIZE {list(small)} is not IMAGE_SIZE [{width}, {height}] divided by a stride"
        )
    kind = source.take("MODEL.TARGET_TYPE", "heatmap.target", "gaussian")
    if kind != "gaussian":
        raise ConfigError(f"{source.file_name}: TARGET_TYPE {kind!r} is not known; every published file has gaussian")
    soft = bool(source.take("TEST.SOFT_ARGMAX", "heatmap.decode", False))
    return {
        "stride": stride,
        "sigma": float(source.take("MODEL.SIGMA", "heatmap.sigma", 2)),
        "target": "quantised",
        "convention": "published",
        "decode": "soft_argmax" if soft else "argmax",
        "quarter": bool(source.take("TEST.POST_PROCESS", "heatmap.quarter", _post_process_default(source))),
        "bias": float(source.take("TEST.BIAS", "heatmap.bias", 0.0)),
    }


def _post_process_default(source: _Source) -> bool:
    """False in the family, true in its oldest branch, which keeps the sizes under MODEL.EXTRA."""
    return "MODEL.EXTRA.HEATMAP_SIZE" in source.values


def _train(source: _Source, result: Converted) -> dict[str, Any]:
    begin = int(source.take("TRAIN.BEGIN_EPOCH", "train.epochs", 0))
    end = int(source.take("TRAIN.END_EPOCH", "train.epochs", 140))
    steps = [int(step) for step in source.take("TRAIN.LR_STEP", "train.milestones", [90, 110])]
    epochs = end - begin
    if epochs > 1000:
        epochs = max(steps) + 40
        result.notes.append(f"END_EPOCH {end} means until stopped; taken as {epochs}, 40 epochs past the last LR_STEP")
    optimizer = str(source.take("TRAIN.OPTIMIZER", "train.optimizer", "adam")).lower()
    decay = float(source.take("TRAIN.WD", "train.weight_decay", 1e-4))
    if optimizer == "adam" and decay:
        result.notes.append(f"WD {decay:g} was never applied with Adam by the published code: weight_decay is 0")
    return {
        "epochs": epochs,
        "batch_size": _batch_size(source, result),
        "optimizer": optimizer,
        "lr": float(source.take("TRAIN.LR", "train.lr", 1e-3)),
        "weight_decay": 0.0 if optimizer == "adam" else decay,
        "momentum": float(source.take("TRAIN.MOMENTUM", "train.momentum", 0.9)),
        "nesterov": bool(source.take("TRAIN.NESTEROV", "train.nesterov", False)),
        "schedule": "multistep",
        "milestones": steps,
        "factor": float(source.take("TRAIN.LR_FACTOR", "train.factor", 0.1)),
        "workers": int(source.take("WORKERS", "train.workers", 4)),
        "log_every": int(source.take("PRINT_FREQ", "train.log_every", 20)),
        "sync_bn": bool(source.take("MODEL.SYNC_BN", "train.sync_bn", False)),
    }


def _batch_size(source: _Source, result: Converted) -> int:
    """One figure for all processes together; the published files give it per GPU."""
    gpus = source.take("GPUS", "train.batch_size", (0,))
    count = len(gpus) if isinstance(gpus, tuple | list) else len(str(gpus).split(","))
    for key in ("TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.BATCH_SIZE"):
        if key in source.values:
            each = int(source.take(key, "train.batch_size", 32))
            break
    else:
        each = 32
    total = each * count
    if count > 1:
        result.notes.append(
            f"batch: {each} per GPU on {count} GPUs is {total} as written, taken as train.batch_size; the published "
            f"distributed trainer gave {total} to each of its processes, {total * count} in all on {count} GPUs. "
            "The learning rate was scaled for neither"
        )
    return total


def _test(source: _Source) -> dict[str, Any]:
    old = _post_process_default(source)
    for key in ("TEST.BATCH_SIZE_PER_GPU", "TEST.BATCH_SIZE"):
        if key in source.values:
            size = int(source.take(key, "test.batch_size", 32))
            break
    else:
        size = 32
    truth = source.take("TEST.USE_GT_BBOX", "test.boxes", False)
    return {
        "batch_size": size,
        "boxes": "detections" if _has_boxes(source) and not truth else "gt",
        "flip": bool(source.take("TEST.FLIP_TEST", "test.flip", False)),
        "shift_heatmap": bool(source.take("TEST.SHIFT_HEATMAP", "test.shift_heatmap", old)),
        "joint_threshold": float(source.take("TEST.IN_VIS_THRE", "test.joint_threshold", 0.0)),
        "oks_threshold": float(source.take("TEST.OKS_THRE", "test.oks_threshold", 0.5)),
        "soft_nms": bool(source.take("TEST.SOFT_NMS", "test.soft_nms", False)),
    }


def _has_boxes(source: _Source) -> bool:
    """Only COCO and CrowdPose are evaluated on boxes; MPII has its own centres and scales."""
    return str(source.values.get("DATASET.DATASET", "mpii")).startswith(("coco", "crowd"))


def _refuse_unknown(source: _Source) -> None:
    """A key that no published file has is a mistake, not something to pass over."""
    known = known_keys()
    for key in source.values:
        if key not in known and not key.startswith(FREE):
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{source.file_name}: unknown key {key}{hint}")


def _account(source: _Source, result: Converted) -> None:
    """Every key of the file: where it went, or why it means nothing."""
    for key in source.values:
        if key in source.went or key.startswith(FREE):
            result.mapped.append(f"{key} → {source.went.get(key, 'model.name')}")
        else:
            result.meaningless.append(f"{key}: {MEANINGLESS.get(key, 'decides nothing together with the other keys')}")
