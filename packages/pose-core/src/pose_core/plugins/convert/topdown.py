"""Conversion of a published top-down file, shared by the methods that have such files."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import FIXED, IN_SOME_FILES, MEANINGLESS, UNUSED, known_keys, unread_keys
from pose_core.plugins.convert.networks import ELSEWHERE, EXTRA, Network
from pose_core.plugins.convert.optimizer import optimizer_settings
from pose_core.plugins.convert.source import GPU_COUNT, WHOLES, Converted, Source
from pose_core.suggestions import did_you_mean

LAYOUTS = {
    "coco": ("coco", "coco17", 17), "mpii": ("mpii", "mpii16", 16), "crowdpose": ("crowdpose", "crowdpose14", 14),
    "lspetmpii": ("lsp_mpii", "lsp_mpii16", 16),
}  # fmt: skip
"""Published name of a data set → layout, skeleton, number of joints."""


def distributed_note(each: int, gpus: int) -> str:
    """Return the note on the batch size of a published distributed trainer."""
    return (
        f"batch: {each} per GPU on {gpus} GPUs is {each * gpus} as written, taken as train.batch_size; the published "
        f"distributed trainer gave {each * gpus} to each of its processes, {each * gpus * gpus} in all on {gpus} GPUs. "
        "The learning rate was scaled for neither"
    )


def convert_topdown(
    source: Source,
    method: str,
    find_network: Callable[[Source], Network],
    *,
    own_keys: Iterable[str] = (),
    meaningless: Mapping[str, str] | None = None,
    batch_note: Callable[[int, int], str] = distributed_note,
) -> Converted:
    """Return the blocks that every top-down experiment has.

    ``find_network`` is called after the check for unknown keys. A method reads its own keys first, so that the notes
    have their targets. ``own_keys`` are all keys that its files may have in addition to the shared ones;
    ``meaningless`` gives the reason for those that change nothing, whatever their value. ``batch_note`` is the note on
    a batch size, given per GPU, on several GPUs.
    """
    own_keys = set(own_keys)
    reasons = {key: why for key, why in MEANINGLESS.items() if key not in own_keys} | dict(meaningless or {})
    source.unread |= unread_keys(source.values, IN_SOME_FILES) | reasons
    _refuse_unknown(source, {*known_keys(), *own_keys})
    network = find_network(source)
    result = Converted({}, notes=list(network.notes))
    result.config = {
        "method": method,
        "name": source.file_name.removesuffix(".yaml").removesuffix(".yml"),
        "data": _data(source),
        "augment": _augment(source),
        "model": _model(source, network, takes_pretrained="MODEL.PRETRAINED" not in reasons),
        "heatmap": _heatmap(source),
        "train": _train(source, result, batch_note),
        "test": _test(source),
    }
    _account(source, result)
    return result


def _refuse_unknown(source: Source, known: set[str]) -> None:
    """Refuse a key that no published file has, and a value that is not supported."""
    in_extra = {f"{EXTRA}{key.removeprefix('MODEL.')}": key for key in FIXED if key.startswith("MODEL.")}
    for key, value in source.values.items():
        if source.why_unread(key) or key.startswith(UNUSED):
            continue
        if key not in known and not key.startswith(EXTRA):
            hint = did_you_mean(key, sorted(known | source.unread.keys()), cutoff=0.8)
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
    stated = source.text("DATASET.ROOT", "data.root", "").rstrip("/")
    root = _in_data_dir(source, stated) if stated else f"data/{layout}"
    data: dict[str, Any] = {
        "layout": layout,
        "root": root,
        "train": source.text("DATASET.TRAIN_SET", "data.train", "train"),
        "val": source.text("DATASET.TEST_SET", "data.val", "valid"),
        "skeleton": skeleton,
        "color": "rgb" if source.flag("DATASET.COLOR_RGB", "data.color", False) else "bgr",
    }
    if layout == "lsp_mpii":
        # In the published code every set but train is one of LSP's; its people are the merged file's val.
        data["val"] = "val"
    if _has_boxes(source):
        data["min_box_score"] = source.number("TEST.IMAGE_THRE", "data.min_box_score", 0.0 if source.is_old else 0.1)
        # Here they are relative to the root.
        detections = source.text("TEST.COCO_BBOX_FILE", "data.detections", "").removeprefix(f"{root}/")
        if detections:
            data["detections"] = detections
    return data


def _in_data_dir(source: Source, path: str) -> str:
    """Return a path in DATA_DIR, as the published code takes it."""
    return posixpath.join(source.text("DATA_DIR", "data.root, model.pretrained", ""), path)


def _has_boxes(source: Source) -> bool:
    """Return whether evaluation uses boxes, as for COCO and CrowdPose; MPII and LSP have centers and scales."""
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


def _model(source: Source, network: Network, *, takes_pretrained: bool) -> dict[str, Any]:
    model: dict[str, Any] = {
        "name": network.name,
        "input_size": list(source.pair("MODEL.IMAGE_SIZE", "model.input_size", (256, 256))),
        "init": "published" if source.flag("MODEL.INIT_WEIGHTS", "model.init", True) else "framework",
    }
    if not takes_pretrained:
        model["init"] = "framework"
    elif pretrained := source.text("MODEL.PRETRAINED", "model.pretrained", ""):
        model["pretrained"] = _in_data_dir(source, pretrained)
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
        "target": "quantized",
        "convention": "published",
        "decode": "soft_argmax" if soft else "argmax",
        "quarter": source.flag("TEST.POST_PROCESS", "heatmap.quarter", source.is_old),
        "bias": source.number("TEST.BIAS", "heatmap.bias", 0.0),
    }


def _train(source: Source, result: Converted, batch_note: Callable[[int, int], str]) -> dict[str, Any]:
    steps = source.take("TRAIN.LR_STEP", "train.milestones", [90, 110], WHOLES)
    optimizer = optimizer_settings(source, result.notes)
    return {
        "epochs": _epochs(source, steps, result),
        "batch_size": _batch_size(source, result, batch_note),
        **optimizer,
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


def _batch_size(source: Source, result: Converted, note: Callable[[int, int], str]) -> int:
    """Return the batch size over all processes; the published files give it per GPU."""
    each, gpus = _per_gpu(source, "TRAIN", "train.batch_size")
    if gpus > 1:
        result.notes.append(note(each, gpus))
    return each * gpus


def _per_gpu(source: Source, section: str, target: str) -> tuple[int, int]:
    """Return the samples per GPU and the number of GPUs."""
    # The lite family's default; the others name their GPUs in every file.
    gpus = source.take("GPUS", "train.batch_size, test.batch_size", 1, GPU_COUNT)
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
        # The published code's default: every joint counts.
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
    """Note the target of every key of the file, or why it changes nothing here."""
    for key, value in source.values.items():
        reason = source.why_unread(key)
        target = None if reason else source.went.get(key) or _network_target(key)
        if target:
            result.mapped.append(f"{key} → {target}")
        elif key.startswith(UNUSED) and not reason:
            result.meaningless.append(f"{key}: about a network that this file does not have")
        else:
            result.meaningless.append(f"{key}: {reason or f'always {value!r} here'}")


def _network_target(key: str) -> str | None:
    """Return the target of keys that were read to find the network's name."""
    if key == "MODEL.STYLE" or (key.startswith(EXTRA) and key.removeprefix(EXTRA) not in ELSEWHERE):
        return "model.name"
    return "model.pretrained (all layers of the backbone)" if key == f"{EXTRA}PRETRAINED_LAYERS" else None
