"""Conversion of the published config files of Bottom-Up HRNet and DEKR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import unread_keys
from pose_core.plugins.convert.networks import require_whole_trunk
from pose_core.plugins.convert.optimizer import optimizer_settings
from pose_core.plugins.convert.source import GPU_COUNT, WHOLES, Converted, Kind, Source, flag, literal, numbers, text
from pose_core.suggestions import did_you_mean
from pose_dekr.published_keys import (
    FIXED,
    NEVER,
    OWN,
    READ,
    WITHOUT_MEANING,
    bottomup_layers,
    dekr_layers,
    unread_rules,
)

DATASETS = {"coco_kpt": ("coco", "coco17", 17), "crowd_pose_kpt": ("crowdpose", "crowdpose14", 14)}
"""Published name → our layout, skeleton, number of joints."""
NAMES = {"pose_hrnet": "bottomup_hrnet", "pose_higher_hrnet": "bottomup_higher_hrnet", "hrnet_dekr": "dekr_hrnet"}
"""MODEL.NAME → prefix of our name."""
SPLITS = {"coco": ("train2017", "val2017"), "crowdpose": ("trainval", "test")}
GPUS = {("dekr", 32): 4, ("bottomup", 32): 4}
"""Number of GPUs of the published runs, which their files do not state; 8 where none is given."""


def is_bottom_up(values: dict[str, Any]) -> bool:
    """Return whether a published file belongs to Bottom-Up HRNet or DEKR."""
    named = str(values.get("MODEL.NAME", "pose_hrnet")).startswith(("hrnet_dekr", "pose_higher"))
    return named or any(
        key.startswith(("DATASET.OFFSET_RADIUS", "RESCORE.", "DATASET.MAX_NUM_PEOPLE")) for key in values
    )


def convert(source: Source) -> Converted | None:
    """Convert a file of Bottom-Up HRNet or DEKR."""
    if not is_bottom_up(source.values):
        return None
    notes: list[str] = []
    system, width, name, layers = _network(source, notes)
    source.unread |= WITHOUT_MEANING | unread_keys(source.values, unread_rules(system))
    fixed = FIXED[system] | ({"LOSS.NUM_STAGES": 1 + ("higher" in name)} if system == "bottomup" else {})
    _refuse(source, system, layers, fixed)
    size = source.whole("DATASET.INPUT_SIZE", "model.input_size", 512)
    data, layout = _data(source)
    config: dict[str, Any] = {
        "method": "dekr",
        "name": source.file_name.removesuffix(".yaml").removesuffix(".yml"),
        "data": data,
        "augment": _augment(source),
        "model": _model(source, name, size),
        "heatmap": _heatmap(source, layout, name, size, notes),
        "offset": _offset(source, system),
        "train": _train(source, system, width, layout, notes),
        "test": _test(source, system),
        "rescore": _rescore(source, system),
    }
    notes += _deviations(source, system, data, higher="higher" in name)
    result = Converted(config, notes=notes)
    for key, value in source.values.items():
        reason = source.why_unread(key)
        if reason:
            result.meaningless.append(f"{key}: {reason}")
        elif key in fixed:
            result.meaningless.append(f"{key}: always {value!r} here")
        else:
            result.mapped.append(f"{key} → {source.went[key]}")
    return result


def _deviations(source: Source, system: str, data: dict[str, Any], *, higher: bool) -> list[str]:
    """Return where the file repeats the published code against this project's defaults, and where that code stops."""
    notes = []
    if system == "dekr":
        notes.append(
            "offset.area=published weights a person's offsets by the published area, which includes the image's "
            "corner, and puts the center of people without labeled joints there; this project's default is joints"
        )
    notes.append(
        "test.compat=true repeats the bugs of the published decoding; this project's default is false: `pose settings "
        "test.compat` lists them"
    )
    if system == "bottomup" and not higher:
        notes.append(
            "model.options={compat: true} moves the batch-norm statistics of the layer that the published code runs "
            "three times as often; this project's default moves them once"
        )
    if data["layout"] == "coco" and "test" in data["val"]:
        why = "stops on" if system == "bottomup" else "does not find the images of"
        notes.append(f"the published code {why} {data['val']}, which has no annotations; here results are written")
    if system == "bottomup" and source.values.get("DEBUG.DEBUG") is True:
        notes.append("the published training stops where it draws images for DEBUG.DEBUG")
    return notes


def _network(source: Source, notes: list[str]) -> tuple[str, int, str, dict[str, Any]]:
    """Return system, width and our name of the network, and the layers that a file may state."""
    values = source.values
    published = values.get("MODEL.NAME")
    if published is None:
        notes.append("the file names no network, and its settings fit any: taken as bottomup_hrnet_w32")
        return "bottomup", 32, "bottomup_hrnet_w32", {}
    if not isinstance(published, str) or published not in NAMES:
        hint = did_you_mean(str(published), NAMES) or f"; known are {', '.join(NAMES)}"
        raise ConfigError(f"{source.file_name}: MODEL.NAME {published!r} is not known{hint}")
    system = "dekr" if published == "hrnet_dekr" else "bottomup"
    key = "MODEL.SPEC.STAGES.NUM_CHANNELS" if system == "dekr" else "MODEL.EXTRA.STAGE2.NUM_CHANNELS"
    stated = literal(values.get(key))
    first = stated[0] if isinstance(stated, Sequence) and stated else None
    width = first[0] if isinstance(first, Sequence) and first else first
    widths = (48,) if published == "pose_higher_hrnet" else (32, 48)
    if width not in widths:
        raise ConfigError(f"{source.file_name}: {key} is {stated!r}; {published} has widths {widths} here")
    assert isinstance(width, int)
    higher = published == "pose_higher_hrnet"
    layers = dekr_layers(width) if system == "dekr" else bottomup_layers(width, higher=higher)
    return system, width, f"{NAMES[published]}_w{width}", layers


def _refuse(source: Source, system: str, layers: dict[str, Any], fixed: dict[str, Any]) -> None:
    """Refuse keys that these files do not have, layers that differ from the network's, and values without a like."""
    lists = "MODEL.SPEC.PRETRAINED_LAYERS" if system == "dekr" else "MODEL.EXTRA.PRETRAINED_LAYERS"
    known = {*READ, *OWN[system], *fixed, *layers, lists}
    for key, value in source.values.items():
        if source.why_unread(key):
            continue
        if key not in known:
            near = did_you_mean(key, {*known, *WITHOUT_MEANING, *NEVER}, cutoff=0.8)
            raise ConfigError(f"{source.file_name}: unknown key {key}{near}")
        stated = literal(value)
        stated = list(stated) if isinstance(stated, tuple) else stated
        if key in layers and stated != layers[key]:
            raise ConfigError(f"{source.file_name}: {key} is {stated!r}; this network has {layers[key]!r}")
        if key in fixed and stated != fixed[key]:
            raise ConfigError(f"{source.file_name}: {key} is {stated!r}; here it can only be {fixed[key]!r}")
        if key in layers:
            source.went[key] = "model.name"
    require_whole_trunk(source, lists)
    source.went[lists] = "model.pretrained (all layers of the backbone)"
    if source.values.get("DATASET.SCALE_TYPE", "short") not in ("short", "long"):
        raise ConfigError(f"{source.file_name}: DATASET.SCALE_TYPE must be short or long")


def _data(source: Source) -> tuple[dict[str, Any], str]:
    dataset = source.text("DATASET.DATASET", "data.layout, data.skeleton", "coco_kpt")
    if dataset not in DATASETS:
        raise ConfigError(f"{source.file_name}: DATASET.DATASET {dataset!r} is none of {', '.join(DATASETS)}")
    layout, skeleton, expected = DATASETS[dataset]
    for key in ("DATASET.NUM_JOINTS", "MODEL.NUM_JOINTS"):
        joints = source.whole(key, "data.skeleton", expected)
        if joints != expected:
            raise ConfigError(f"{source.file_name}: {key} is {joints}, but {dataset} has the {expected} of {skeleton}")
    train, val = SPLITS[layout]
    stated = source.text("DATASET.TEST", "data.val", val)
    return {
        "layout": layout,
        "root": source.text("DATASET.ROOT", "data.root", f"data/{layout}").rstrip("/"),
        "train": source.text("DATASET.TRAIN", "data.train", train),
        # In the files that collect data for rescoring, this key has the task instead of a split.
        "val": val if stated.startswith("rescore") else stated,
        "skeleton": skeleton,
        "color": "rgb",
    }, layout


def _augment(source: Source) -> dict[str, Any]:
    smallest = source.number("DATASET.MIN_SCALE", "augment.scale", 0.75)
    return {
        "flip": source.number("DATASET.FLIP", "augment.flip", 0.5),
        "rotation": source.number("DATASET.MAX_ROTATION", "augment.rotation", 30),
        "scale": [smallest, source.number("DATASET.MAX_SCALE", "augment.scale", 1.5)],
        "shift": source.number("DATASET.MAX_TRANSLATE", "augment.shift", 40),
        "fit": source.text("DATASET.SCALE_TYPE", "augment.fit", "short"),
    }


def _model(source: Source, name: str, size: int) -> dict[str, Any]:
    started = source.flag("MODEL.INIT_WEIGHTS", "model.init", True)
    model: dict[str, Any] = {
        "name": name,
        "input_size": [size, size],
        "init": "published" if started else "framework",
    }
    if name.startswith("bottomup_hrnet"):
        model["options"] = {"compat": True}
    pretrained = source.text("MODEL.PRETRAINED", "model.pretrained", "")
    return {**model, "pretrained": pretrained} if pretrained else model


def _heatmap(source: Source, layout: str, name: str, size: int, notes: list[str]) -> dict[str, Any]:
    expected = [size // 4, size // 2] if "higher" in name else [size // 4]
    maps = source.take("DATASET.OUTPUT_SIZE", "heatmap.stride", expected, STAGES)
    if [row[0] for row in rows(maps)] != expected:
        raise ConfigError(f"{source.file_name}: DATASET.OUTPUT_SIZE is {maps}; {name} has {expected} for {size} pixels")
    read = slice(_stages(source))
    given = rows(source.take("DATASET.SIGMA", "heatmap.sigma", [2.0], STAGES))
    sigmas = {value for row in given[read] for value in row}
    if len(sigmas) > 1:
        raise ConfigError(
            f"{source.file_name}: DATASET.SIGMA has several values, {sorted(sigmas)}; only one is supported here"
        )
    weights = rows(source.take("DATASET.BG_WEIGHT", "heatmap.background", [[0.1], [0.025]], STAGES))[read]
    if any(len(set(row)) > 1 for row in weights) or len(weights) < len(expected):
        raise ConfigError(f"{source.file_name}: DATASET.BG_WEIGHT must be one number per map size")
    center = source.number("DATASET.CENTER_SIGMA", "heatmap.center_sigma", 4.0)
    sigma = float(sigmas.pop())
    found: dict[str, Any] = {"stride": 4, "sigma": sigma, "background": float(weights[0][0])}
    if layout == "crowdpose":
        notes.append(
            f"the published code draws CrowdPose's center with SIGMA {sigma:g}, whatever CENTER_SIGMA; so does "
            "heatmap.center_sigma=null"
        )
    elif center != 4:
        found["center_sigma"] = center
    if len(weights) > 1:
        found["fine_background"] = float(weights[1][0])
    return found


def _stages(source: Source) -> int:
    """Return the number of sizes of maps, for each of which the published code reads one entry of its lists."""
    return 2 if source.values.get("MODEL.NAME") == "pose_higher_hrnet" else 1


def _offset(source: Source, system: str) -> dict[str, Any]:
    default = 0.03 if system == "dekr" else 0.01
    # The published code reads the first factor of each list for all sizes of maps, and the flags of each.
    factors = rows(source.take("LOSS.OFFSETS_LOSS_FACTOR", "offset.factor", [default], STAGES))
    heat = rows(source.take("LOSS.HEATMAPS_LOSS_FACTOR", "offset.factor", [1.0], STAGES))
    if heat[0][0] != 1.0:
        raise ConfigError(f"{source.file_name}: LOSS.HEATMAPS_LOSS_FACTOR can only be 1 here; scale offset.factor")
    stages = _stages(source)
    for key, expected in (("LOSS.WITH_HEATMAPS_LOSS", [True, True]), ("LOSS.WITH_OFFSETS_LOSS", [True, False])):
        given = source.take(key, "offset.factor", expected, FLAGS)
        if (given if len(given) == 1 else given[:stages]) != expected[: min(stages, len(given))]:
            raise ConfigError(
                f"{source.file_name}: {key} is {given}; here it can only be {expected[:stages]}, as in every published "
                "file"
            )
    radius = source.whole("DATASET.OFFSET_RADIUS", "offset.radius", 4)
    return {"radius": radius, "factor": float(factors[0][0]), "area": "published"}


def _train(source: Source, system: str, width: int, layout: str, notes: list[str]) -> dict[str, Any]:
    coco = layout == "coco"
    optimizer = optimizer_settings(source, notes)
    each = source.whole("TRAIN.IMAGES_PER_GPU", "train.batch_size", 10)
    gpus = GPUS.get((system, width), 8)
    listed = source.take("GPUS", "train.batch_size", 1, GPU_COUNT)
    times = f" times {listed} in GPUS" if listed > 1 else ""
    notes.append(
        f"batch: {each} per GPU{times}, and the published runs had {gpus} processes: "
        f"train.batch_size={each * listed * gpus}"
    )
    begin = source.whole("TRAIN.BEGIN_EPOCH", "train.epochs", 0)
    return {
        "epochs": source.whole("TRAIN.END_EPOCH", "train.epochs", 140 if coco else 300) - begin,
        "batch_size": each * listed * gpus,
        **optimizer,
        "schedule": "multistep",
        "milestones": source.take("TRAIN.LR_STEP", "train.milestones", [90, 120] if coco else [200, 260], WHOLES),
        "factor": source.number("TRAIN.LR_FACTOR", "train.factor", 0.1),
        "workers": source.whole("WORKERS", "train.workers", 4),
        "log_every": source.whole("PRINT_FREQ", "train.log_every", 100),
        "validate_every": 0,
    }


def _test(source: Source, system: str) -> dict[str, Any]:
    if system == "dekr":
        own: dict[str, Any] = {
            "nms": source.number("TEST.NMS_THRE", "test.nms", 0.15),
            "nms_joints": source.whole("TEST.NMS_NUM_THRE", "test.nms_joints", 10),
            "decrease": source.number("TEST.DECREASE", "test.decrease", 1.0),
        }
        if source.flag("TEST.MATCH_HMP", "test.match_heatmap", False):
            own["match_heatmap"] = True
    else:
        own = {
            "nms": source.number("TEST.DIST_THRESHOLD", "test.nms", 10),
            "nms_joints": source.whole("TEST.OVERLAP_THRESHOLD", "test.nms_joints", 10),
            "decrease": source.number("TEST.SCALE_DECREASE", "test.decrease", 0.001),
        }
        used = source.take("TEST.WITH_HEATMAPS", "model.name", [True], FLAGS)
        if not all(used[: _stages(source)]):
            raise ConfigError(f"{source.file_name}: TEST.WITH_HEATMAPS is {used}; here heatmaps are always used")
    return {
        "scales": source.take("TEST.SCALE_FACTOR", "test.scales", [1.0], SCALES),
        "flip": source.flag("TEST.FLIP_TEST", "test.flip", True),
        "max_people": source.whole("DATASET.MAX_NUM_PEOPLE", "test.max_people", 30),
        **own,
        "center_threshold": source.number("TEST.KEYPOINT_THRESHOLD", "test.center_threshold", 0.01),
        "adjust_threshold": source.number("TEST.ADJUST_THRESHOLD", "test.adjust_threshold", 0.05),
        "max_absorb": source.number("TEST.MAX_ABSORB_DISTANCE", "test.max_absorb", 75),
        "window": source.whole("TEST.GUASSIAN_KERNEL", "test.window", 6),
        "compat": True,
    }


def _rescore(source: Source, system: str) -> dict[str, Any]:
    hidden = source.whole("RESCORE.HIDDEN_LAYER", "rescore", 256)
    if hidden != 256:
        raise ConfigError(f"{source.file_name}: RESCORE.HIDDEN_LAYER is {hidden}; the scoring network here has 256")
    found: dict[str, Any] = {
        "use": source.flag("RESCORE.VALID" if system == "dekr" else "RESCORE.USE", "rescore.use", False),
        "epochs": source.whole("RESCORE.END_EPOCH", "rescore.epochs", 20),
        "lr": source.number("RESCORE.LR", "rescore.lr", 1e-3),
        "batch_size": source.whole("RESCORE.BATCHSIZE", "rescore.batch_size", 1024),
    }
    weights = source.text("RESCORE.MODEL_FILE", "rescore.weights", "")
    data = source.text("RESCORE.DATA_FILE", "rescore.data", "").removeprefix("../")
    if weights:
        found["weights"] = weights
    if data:
        # The published file is a pickle; ours is an .npz of numbers.
        found["data"] = data if data.endswith(".npz") else f"{data}.npz"
    return found


def stages(value: Any) -> Sequence[Any]:
    """Check and return a number, a list per map size, or a list of lists."""
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    found = rows(items)
    if not found or not all(found):
        raise ValueError
    for row in found:
        numbers(row)
    return items


def rows(items: Sequence[Any]) -> list[list[float]]:
    """Return ``[128]`` or ``[[2, 2, 2], [2]]`` as one list per map size."""
    return [list(item) if isinstance(item, Sequence) and not isinstance(item, str) else [item] for item in items]


def flags(value: Any) -> list[bool]:
    """Read a flag, or one per map size."""
    items = value if isinstance(value, list | tuple) and value else [value]
    return [flag(item) for item in items]


def scales(value: Any) -> list[float]:
    """Read scales written as ``[1]``, ``(0.5, 1, 2)`` or ``0.5,1,2``."""
    if isinstance(value, str):
        value = [float(item) for item in text(value).split(",")]
    return numbers(value if isinstance(value, Sequence) else [value])


STAGES = Kind(stages, "numbers per map size, for example [[2.0, 2.0, 2.0], [2.0]]")
FLAGS = Kind(flags, "true or false per map size")
SCALES = Kind(scales, "scales, for example [0.5, 1, 2]")
