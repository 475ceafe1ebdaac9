"""The keys of published Bottom-Up and DEKR files: layers, converted keys, and keys without a meaning here."""

from __future__ import annotations

from typing import Any

from pose_core.plugins.convert.keys import MEANINGLESS

_UNREAD = "not read by the published code"
WITHOUT_MEANING = MEANINGLESS | {
    "DATASET.DATASET_TEST": "every split has the same evaluation",
    "DATASET.OFFSET_REG": "these networks always regress offsets",
    "DATASET.USE_BBOX_CENTER": _UNREAD,
    "DATASET.WITH_CENTER": "these networks always have a center",
    "DEBUG.SAVE_TAGMAPS_PRED": MEANINGLESS["DEBUG.DEBUG"],
    "LOSS.NUM_STAGES": "implied by model.name",
    "RESCORE.GET_DATA": "a command of its own: pose-dekr rescore-data",
    "RESCORE.MODEL_ROOT": "rescore.weights names the whole path",
    "TEST.IMAGES_PER_GPU": "whole images are evaluated one by one",
    "TEST.NMS_KERNEL": _UNREAD,
    "TEST.NMS_PADDING": _UNREAD,
    "TEST.WITH_HEATMAPS": _UNREAD,
    "TEST.POOL_THRESHOLD1": "the kernel of centers follows the map's size, as published",
    "TEST.POOL_THRESHOLD2": "the kernel of centers follows the map's size, as published",
    "TRAIN.SHUFFLE": "training samples are always shuffled",
}

MAPPED = (
    "GPUS", "WORKERS", "PRINT_FREQ", "MODEL.NAME", "MODEL.NUM_JOINTS", "MODEL.INIT_WEIGHTS", "MODEL.PRETRAINED",
    "DATASET.DATASET", "DATASET.NUM_JOINTS", "DATASET.ROOT", "DATASET.TRAIN", "DATASET.TEST", "DATASET.INPUT_SIZE",
    "DATASET.OUTPUT_SIZE", "DATASET.SIGMA", "DATASET.CENTER_SIGMA", "DATASET.BG_WEIGHT", "DATASET.OFFSET_RADIUS",
    "DATASET.FLIP", "DATASET.MAX_ROTATION", "DATASET.MIN_SCALE", "DATASET.MAX_SCALE", "DATASET.MAX_TRANSLATE",
    "DATASET.SCALE_TYPE", "DATASET.MAX_NUM_PEOPLE", "LOSS.HEATMAPS_LOSS_FACTOR", "LOSS.OFFSETS_LOSS_FACTOR",
    "LOSS.WITH_HEATMAPS_LOSS", "LOSS.WITH_OFFSETS_LOSS", "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.OPTIMIZER",
    "TRAIN.LR", "TRAIN.LR_STEP", "TRAIN.LR_FACTOR", "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV",
    "TRAIN.IMAGES_PER_GPU", "TEST.FLIP_TEST", "TEST.SCALE_FACTOR", "TEST.NMS_THRE", "TEST.NMS_NUM_THRE",
    "TEST.DECREASE", "TEST.MATCH_HMP", "TEST.DIST_THRESHOLD", "TEST.OVERLAP_THRESHOLD", "TEST.SCALE_DECREASE",
    "TEST.KEYPOINT_THRESHOLD", "TEST.ADJUST_THRESHOLD", "TEST.MAX_ABSORB_DISTANCE", "TEST.GUASSIAN_KERNEL",
    "RESCORE.USE", "RESCORE.VALID", "RESCORE.END_EPOCH", "RESCORE.LR", "RESCORE.BATCHSIZE", "RESCORE.HIDDEN_LAYER",
    "RESCORE.MODEL_FILE", "RESCORE.DATA_FILE",
)  # fmt: skip
"""Keys of these files that are converted."""

HEAD = {
    "MODEL.SPEC.HEAD_HEATMAP.BLOCK": "BASIC", "MODEL.SPEC.HEAD_HEATMAP.NUM_BLOCKS": 1,
    "MODEL.SPEC.HEAD_HEATMAP.DILATION_RATE": 1, "MODEL.SPEC.HEAD_OFFSET.BLOCK": "ADAPTIVE",
    "MODEL.SPEC.HEAD_OFFSET.NUM_BLOCKS": 2, "MODEL.SPEC.HEAD_OFFSET.NUM_CHANNELS_PERKPT": 15,
    "MODEL.SPEC.HEAD_OFFSET.DILATION_RATE": 1, "MODEL.SPEC.FINAL_CONV_KERNEL": 1,
    "MODEL.SPEC.PRETRAINED_LAYERS": ["*"], "MODEL.SPEC.STAGES.NUM_STAGES": 3,
    "MODEL.SPEC.STAGES.NUM_MODULES": [1, 4, 3], "MODEL.SPEC.STAGES.NUM_BRANCHES": [2, 3, 4],
    "MODEL.SPEC.STAGES.BLOCK": ["BASIC"] * 3, "MODEL.SPEC.STAGES.FUSE_METHOD": ["SUM"] * 3,
    "MODEL.SPEC.STAGES.NUM_BLOCKS": [[4] * 2, [4] * 3, [4] * 4],
}  # fmt: skip


def dekr_layers(width: int) -> dict[str, Any]:
    """Return MODEL.SPEC of a width, by dotted keys."""
    channels = [[width * 2**branch for branch in range(count)] for count in (2, 3, 4)]
    return HEAD | {"MODEL.SPEC.HEAD_HEATMAP.NUM_CHANNELS": width, "MODEL.SPEC.STAGES.NUM_CHANNELS": channels}


def bottomup_layers(width: int, *, higher: bool) -> dict[str, Any]:
    """Return MODEL.EXTRA of a width, by dotted keys."""
    layers: dict[str, Any] = {"FINAL_CONV_KERNEL": 1, "PRETRAINED_LAYERS": ["*"], "STEM_INPLANES": 64}
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        layers |= {
            f"STAGE{stage}.NUM_MODULES": modules, f"STAGE{stage}.NUM_BRANCHES": stage, f"STAGE{stage}.BLOCK": "BASIC",
            f"STAGE{stage}.NUM_BLOCKS": [4] * stage, f"STAGE{stage}.FUSE_METHOD": "SUM",
            f"STAGE{stage}.NUM_CHANNELS": [width * 2**branch for branch in range(stage)],
        }  # fmt: skip
    heat, regression = "MULTI_LEVEL_OUTPUT_HEATMAP.", "MULTI_LEVEL_OUTPUT_REGRESSION."
    layers |= {
        "DECONV.NUM_DECONVS": int(higher), "DECONV.NUM_BASIC_BLOCKS": int(higher), "DECONV.NUM_CHANNELS": [width],
        "DECONV.KERNEL_SIZE": [4], "DECONV.CAT_OUTPUT": [True],
        f"{heat}BLOCK": ["STNBLOCK"] * 3, f"{heat}NUM_BLOCKS": [1] * 3, f"{heat}NUM_CHANNELS": [width] * 3,
        f"{heat}DILATION_RATE": [1, 2, 3],
        f"{regression}BLOCK": ["STNBLOCK"], f"{regression}NUM_BLOCKS": [1], f"{regression}NUM_CHANNELS": [256],
        f"{regression}DILATION_RATE": [1],
    }  # fmt: skip
    return {f"MODEL.EXTRA.{key}": value for key, value in layers.items()}
