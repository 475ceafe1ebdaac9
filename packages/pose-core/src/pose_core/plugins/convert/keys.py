"""The keys of published files: which the published code reads, which it does not read, and in which files.

Every list is data, shared by the converters and by the tests that prove it: a key that is read changes the experiment
or is refused; a key that is not read never does, whatever its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

NOT_READ = "not read by the published code"
_PATHS = "runs are written to run.dir"
_DEBUG = "images are drawn on demand: pose data browse, predict"
_CUDNN = "PyTorch tunes cuDNN"
_LAUNCH = "torchrun launches processes"
_RESUME = "give --resume to resume a run"
_WEIGHTS = "weights are given by model.pretrained for the backbone, --weights for the whole network"

OTHERWISE: dict[str, str] = {
    "AUTO_RESUME": "give --resume=auto to continue a run if there is one",
    "CUDNN.BENCHMARK": _CUDNN,
    "CUDNN.DETERMINISTIC": _CUDNN,
    "CUDNN.ENABLED": _CUDNN,
    "OUTPUT_DIR": _PATHS,
    "LOG_DIR": _PATHS,
    "PIN_MEMORY": "memory is pinned whenever there is a GPU",
    "RANK": _LAUNCH,
    "DIST_BACKEND": _LAUNCH,
    "DIST_URL": _LAUNCH,
    "MULTIPROCESSING_DISTRIBUTED": _LAUNCH,
    "MODEL.CHECKPOINT": _RESUME,
    "MODEL.FINETUNE": _WEIGHTS,
    "MODEL.HTM_MODEL_PATH": _WEIGHTS,
    "DATASET.DATA_FORMAT": "folders and zip files are both recognized",
    "DATASET.HYBRID_JOINTS_TYPE": _PATHS,
    "TRAIN.RESUME": _RESUME,
    "TRAIN.CHECKPOINT": _RESUME,
    "TEST.MODEL_FILE": "weights are given on the command line: --weights",
    **{f"DEBUG.{name}": _DEBUG for name in (
        "DEBUG", "SAVE_BATCH_IMAGES_GT", "SAVE_BATCH_IMAGES_PRED", "SAVE_HEATMAPS_GT", "SAVE_HEATMAPS_PRED")},
}  # fmt: skip
"""Keys about the machine, paths and logs: how it is done here instead."""

UNREAD: dict[str, str] = dict.fromkeys(
    ("VERBOSE", "MODEL.TAG_PER_JOINT", "LOSS.USE_OHKM", "LOSS.TOPK", "TRAIN.GAMMA1", "TRAIN.GAMMA2", "TEST.BBOX_THRE",
     "TEST.NMS_THRE"), NOT_READ,
)  # fmt: skip
"""Keys that the published top-down code never reads."""

MEANINGLESS: dict[str, str] = OTHERWISE | UNREAD
"""Keys that change no experiment, each with the reason."""

FIXED: dict[str, Any] = {
    "MODEL.TARGET_TYPE": "gaussian",
    "LOSS.USE_TARGET_WEIGHT": True,
    "LOSS.USE_DIFFERENT_JOINTS_WEIGHT": False,
    "DATASET.SELECT_DATA": False,
    "TRAIN.SHUFFLE": True,
}
"""Keys that are read and have this value in every published file; here they can have no other."""

UNUSED = ("MODEL.NET.", "GCN.", "NON_LOCAL.", "FUSE.")
"""Sections about networks that a convertible file does not have; any key is allowed in them."""

BOXES_ONLY = ("TEST.COCO_BBOX_FILE", "TEST.USE_GT_BBOX", "TEST.IMAGE_THRE", "TEST.OKS_THRE", "TEST.SOFT_NMS",
              "TEST.IN_VIS_THRE")  # fmt: skip
"""Keys about detected boxes and OKS, which a data set with its own centers and scales (MPII) does not use."""

READ = (
    "GPUS", "WORKERS", "PRINT_FREQ", "DATA_DIR", "MODEL.NAME", "MODEL.STYLE", "MODEL.NUM_JOINTS", "MODEL.IMAGE_SIZE",
    "MODEL.HEATMAP_SIZE", "MODEL.SIGMA", "MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS", "MODEL.SYNC_BN", "DATASET.DATASET",
    "DATASET.ROOT", "DATASET.TRAIN_SET", "DATASET.TEST_SET", "DATASET.COLOR_RGB", "DATASET.FLIP",
    "DATASET.SCALE_FACTOR", "DATASET.ROT_FACTOR", "DATASET.PROB_HALF_BODY", "DATASET.NUM_JOINTS_HALF_BODY",
    "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.OPTIMIZER", "TRAIN.LR", "TRAIN.LR_STEP", "TRAIN.LR_FACTOR",
    "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV", "TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.BATCH_SIZE",
    "TEST.BATCH_SIZE_PER_GPU", "TEST.BATCH_SIZE", "TEST.FLIP_TEST", "TEST.POST_PROCESS", "TEST.SHIFT_HEATMAP",
    "TEST.SOFT_ARGMAX", "TEST.BIAS",
    *BOXES_ONLY,
)  # fmt: skip
"""Keys of top-down files that are read and converted, except those of MODEL.EXTRA."""

OTHER_SYSTEMS = ("ASA.", "STN.", "RESCORE.", "DATASET.OFFSET_RADIUS", "DATASET.MAX_NUM_PEOPLE")
"""Prefixes of keys that only files of systems with more than a top-down network have."""

TRUNK = ("conv1", "bn1", "conv2", "bn2", "layer1", "transition1", "stage2", "transition2", "stage3", "transition3",
         "stage4")  # fmt: skip
"""The parts of an HRNet that PRETRAINED_LAYERS names in the published files: all but the last layer."""


class Unread(NamedTuple):
    """Keys that the published code does not read in some files, by patterns; ``applies`` gets the file's values."""

    keys: tuple[str, ...]
    reason: str
    applies: Callable[[Mapping[str, Any]], bool]


def _uses_adam(values: Mapping[str, Any]) -> bool:
    return str(values.get("TRAIN.OPTIMIZER", "adam")).lower() == "adam"


def _starts_plain(values: Mapping[str, Any]) -> bool:
    return values.get("MODEL.INIT_WEIGHTS", True) is False


def _has_no_resnet(values: Mapping[str, Any]) -> bool:
    return "resnet" not in str(values.get("MODEL.NAME"))


def _lacks_boxes(values: Mapping[str, Any]) -> bool:
    return values.get("DATASET.DATASET", "mpii") not in ("coco", "crowdpose")


def _never_halves(values: Mapping[str, Any]) -> bool:
    share = values.get("DATASET.PROB_HALF_BODY", 0)
    return isinstance(share, int | float) and share <= 0


ADAM = Unread(("TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV"), f"{NOT_READ} with Adam", _uses_adam)
INITIAL_WEIGHTS = (
    Unread(("MODEL.PRETRAINED", "MODEL.*.PRETRAINED_LAYERS"), f"{NOT_READ} with INIT_WEIGHTS false", _starts_plain),
    Unread(("MODEL.*.PRETRAINED_LAYERS",), f"{NOT_READ} without PRETRAINED", lambda v: not v.get("MODEL.PRETRAINED")),
)

IN_SOME_FILES = (
    ADAM,
    *INITIAL_WEIGHTS,
    Unread(BOXES_ONLY, "about detected boxes and OKS, which this data set is not evaluated with", _lacks_boxes),
    Unread(("DATASET.NUM_JOINTS_HALF_BODY",), f"{NOT_READ} without half bodies", _never_halves),
    Unread(("MODEL.STYLE",), f"{NOT_READ} without a ResNet", _has_no_resnet),
    Unread(("DATA_DIR",), f"{NOT_READ} in files of this form", lambda v: "MODEL.EXTRA.HEATMAP_SIZE" in v),
    Unread(
        ("MODEL.EXTRA.SIGMA", "MODEL.EXTRA.TARGET_TYPE"),
        f"{NOT_READ}: the file has it in MODEL",
        lambda v: "MODEL.EXTRA.HEATMAP_SIZE" not in v,
    ),
)
"""Keys of top-down files that are not read in some of them. Layers are in `pose_core.plugins.convert.networks`."""


def unread_keys(values: Mapping[str, Any], rules: Iterable[Unread]) -> dict[str, str]:
    """Return the keys of a file that the published code does not read by ``rules``, each with the reason."""
    found: dict[str, str] = {}
    for rule in rules:
        if rule.applies(values):
            for key in values:
                if any(fnmatchcase(key, pattern) or fnmatchcase(key, f"{pattern}.*") for pattern in rule.keys):
                    found.setdefault(key, rule.reason)
    return found


def known_keys() -> set[str]:
    """Return every key that the published top-down files may have, except those of MODEL.EXTRA."""
    return {*MEANINGLESS, *FIXED, *READ}
