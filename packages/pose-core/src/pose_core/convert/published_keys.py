"""Published keys that mean nothing here, and why; and which exist at all."""

from __future__ import annotations

from functools import cache

_PATHS = "runs live under run.dir"
_DEBUG = "pictures are made on demand: pose data browse, predict"
_CUDNN = "cuDNN is PyTorch's to tune"
_NEVER = "read by nothing in the published code"
_LAUNCH = "torchrun launches processes"
_ASA = "pasted body parts belong to pose-asda"

MEANINGLESS: dict[str, str] = {
    "AUTO_RESUME": "resuming is asked for: --resume",
    "CUDNN.BENCHMARK": _CUDNN,
    "CUDNN.DETERMINISTIC": _CUDNN,
    "CUDNN.ENABLED": _CUDNN,
    "DATA_DIR": "relative paths are looked for under POSE_DATA",
    "OUTPUT_DIR": _PATHS,
    "LOG_DIR": _PATHS,
    "PIN_MEMORY": "memory is pinned whenever there is a GPU",
    "RANK": _LAUNCH,
    "VERBOSE": _NEVER,
    "DIST_BACKEND": _LAUNCH,
    "DIST_URL": _LAUNCH,
    "MULTIPROCESSING_DISTRIBUTED": _LAUNCH,
    "MODEL.TAG_PER_JOINT": _NEVER,
    "MODEL.STYLE": "part of the network's name (…_caffe)",
    "MODEL.CHECKPOINT": "resuming is asked for: --resume",
    "MODEL.FINETUNE": "start from weights with model.pretrained",
    "MODEL.HTM_MODEL_PATH": "start from weights with model.pretrained",
    "LOSS.USE_TARGET_WEIGHT": "always on, as in every published file",
    "LOSS.USE_OHKM": _NEVER,
    "LOSS.TOPK": _NEVER,
    "LOSS.USE_DIFFERENT_JOINTS_WEIGHT": "off in every published file",
    "DATASET.SELECT_DATA": "off in every published file",
    "DATASET.HYBRID_JOINTS_TYPE": "empty in every published file",
    "TRAIN.SHUFFLE": "training data is always shuffled",
    "TRAIN.GAMMA1": _NEVER,
    "TRAIN.GAMMA2": _NEVER,
    "TRAIN.RESUME": "resuming is asked for: --resume",
    "TRAIN.CHECKPOINT": "resuming is asked for: --resume",
    "TEST.BBOX_THRE": _NEVER,
    "TEST.NMS_THRE": _NEVER,
    "TEST.MODEL_FILE": "weights are named on the command line: --weights",
    **{f"DEBUG.{name}": _DEBUG for name in (
        "DEBUG", "SAVE_BATCH_IMAGES_GT", "SAVE_BATCH_IMAGES_PRED", "SAVE_HEATMAPS_GT", "SAVE_HEATMAPS_PRED")},
}  # fmt: skip

FREE = ("MODEL.EXTRA.", "MODEL.NET.", "MODEL.SPEC.")
"""Sections that describe the network; its name is worked out from them."""

_MAPPED = (
    "GPUS", "WORKERS", "PRINT_FREQ", "MODEL.NAME", "MODEL.NUM_JOINTS", "MODEL.IMAGE_SIZE", "MODEL.HEATMAP_SIZE",
    "MODEL.SIGMA", "MODEL.TARGET_TYPE", "MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS", "MODEL.SYNC_BN", "DATASET.DATASET",
    "DATASET.ROOT", "DATASET.TRAIN_SET", "DATASET.TEST_SET", "DATASET.DATA_FORMAT", "DATASET.COLOR_RGB",
    "DATASET.FLIP", "DATASET.SCALE_FACTOR", "DATASET.ROT_FACTOR", "DATASET.PROB_HALF_BODY",
    "DATASET.NUM_JOINTS_HALF_BODY", "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.OPTIMIZER", "TRAIN.LR",
    "TRAIN.LR_STEP", "TRAIN.LR_FACTOR", "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV", "TRAIN.BATCH_SIZE_PER_GPU",
    "TRAIN.BATCH_SIZE", "TEST.BATCH_SIZE_PER_GPU", "TEST.BATCH_SIZE", "TEST.FLIP_TEST", "TEST.POST_PROCESS",
    "TEST.SHIFT_HEATMAP", "TEST.SOFT_ARGMAX", "TEST.BIAS", "TEST.USE_GT_BBOX", "TEST.COCO_BBOX_FILE",
    "TEST.IMAGE_THRE", "TEST.IN_VIS_THRE", "TEST.OKS_THRE", "TEST.SOFT_NMS",
)  # fmt: skip


@cache
def known_keys() -> list[str]:
    """Every key the published top-down files may hold."""
    return sorted({*MEANINGLESS, *_MAPPED})
