"""Published keys: those without a meaning here and why, those with a single value, and the list of all."""

from __future__ import annotations

from functools import cache
from typing import Any

_PATHS = "runs are written to run.dir"
_DEBUG = "images are drawn on demand: pose data browse, predict"
_CUDNN = "PyTorch tunes cuDNN"
_NEVER = "never read by the published code"
_LAUNCH = "torchrun launches processes"
_RESUME = "give --resume to resume a run"
_WEIGHTS = "weights are given by model.pretrained for the backbone, --weights for the whole network"

MEANINGLESS: dict[str, str] = {
    "AUTO_RESUME": _RESUME,
    "CUDNN.BENCHMARK": _CUDNN,
    "CUDNN.DETERMINISTIC": _CUDNN,
    "CUDNN.ENABLED": _CUDNN,
    "DATA_DIR": "relative paths are searched in the current directory and under POSE_DATA",
    "OUTPUT_DIR": _PATHS,
    "LOG_DIR": _PATHS,
    "PIN_MEMORY": "memory is pinned whenever there is a GPU",
    "RANK": _LAUNCH,
    "VERBOSE": _NEVER,
    "DIST_BACKEND": _LAUNCH,
    "DIST_URL": _LAUNCH,
    "MULTIPROCESSING_DISTRIBUTED": _LAUNCH,
    "MODEL.TAG_PER_JOINT": _NEVER,
    "MODEL.CHECKPOINT": _RESUME,
    "MODEL.FINETUNE": _WEIGHTS,
    "MODEL.HTM_MODEL_PATH": _WEIGHTS,
    "LOSS.USE_OHKM": _NEVER,
    "LOSS.TOPK": _NEVER,
    "DATASET.DATA_FORMAT": "folders and zip files are both recognized",
    "TRAIN.GAMMA1": _NEVER,
    "TRAIN.GAMMA2": _NEVER,
    "TRAIN.RESUME": _RESUME,
    "TRAIN.CHECKPOINT": _RESUME,
    "TEST.BBOX_THRE": _NEVER,
    "TEST.NMS_THRE": _NEVER,
    "TEST.MODEL_FILE": "weights are given on the command line: --weights",
    **{f"DEBUG.{name}": _DEBUG for name in (
        "DEBUG", "SAVE_BATCH_IMAGES_GT", "SAVE_BATCH_IMAGES_PRED", "SAVE_HEATMAPS_GT", "SAVE_HEATMAPS_PRED")},
}  # fmt: skip

FIXED: dict[str, Any] = {
    "MODEL.TARGET_TYPE": "gaussian",
    "LOSS.USE_TARGET_WEIGHT": True,
    "LOSS.USE_DIFFERENT_JOINTS_WEIGHT": False,
    "DATASET.SELECT_DATA": False,
    "DATASET.HYBRID_JOINTS_TYPE": "",
    "TRAIN.SHUFFLE": True,
}
"""Keys that have this value in every published file, and no other here."""

UNUSED = ("MODEL.NET.", "GCN.", "NON_LOCAL.", "FUSE.")
"""Sections about networks that a convertible file does not have; any key is allowed in them."""

BOXES_ONLY = ("TEST.COCO_BBOX_FILE", "TEST.USE_GT_BBOX", "TEST.IMAGE_THRE", "TEST.OKS_THRE", "TEST.SOFT_NMS",
              "TEST.IN_VIS_THRE")  # fmt: skip
"""Keys about detected boxes and OKS, which a data set with its own centers and scales (MPII) does not use."""

_MAPPED = (
    "GPUS", "WORKERS", "PRINT_FREQ", "MODEL.NAME", "MODEL.STYLE", "MODEL.NUM_JOINTS", "MODEL.IMAGE_SIZE",
    "MODEL.HEATMAP_SIZE", "MODEL.SIGMA", "MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS", "MODEL.SYNC_BN", "DATASET.DATASET",
    "DATASET.ROOT", "DATASET.TRAIN_SET", "DATASET.TEST_SET", "DATASET.COLOR_RGB", "DATASET.FLIP",
    "DATASET.SCALE_FACTOR", "DATASET.ROT_FACTOR", "DATASET.PROB_HALF_BODY", "DATASET.NUM_JOINTS_HALF_BODY",
    "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.OPTIMIZER", "TRAIN.LR", "TRAIN.LR_STEP", "TRAIN.LR_FACTOR",
    "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV", "TRAIN.BATCH_SIZE_PER_GPU", "TRAIN.BATCH_SIZE",
    "TEST.BATCH_SIZE_PER_GPU", "TEST.BATCH_SIZE", "TEST.FLIP_TEST", "TEST.POST_PROCESS", "TEST.SHIFT_HEATMAP",
    "TEST.SOFT_ARGMAX", "TEST.BIAS",
    *BOXES_ONLY,
)  # fmt: skip


@cache
def known_keys() -> list[str]:
    """Return every key that the published top-down files may have, except those of MODEL.EXTRA."""
    return sorted({*MEANINGLESS, *FIXED, *_MAPPED})


OTHER_SYSTEMS = ("ASA.", "STN.", "RESCORE.", "DATASET.OFFSET_RADIUS", "DATASET.MAX_NUM_PEOPLE")
"""Prefixes of keys that only files of systems with more than a top-down network have."""
