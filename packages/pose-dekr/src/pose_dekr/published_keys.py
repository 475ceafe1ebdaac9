"""The keys of published Bottom-Up and DEKR files: which their code reads, which it does not read, and the layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pose_core.plugins.convert.keys import ADAM, INITIAL_WEIGHTS, NOT_READ, OTHERWISE, UNREAD, Unread

WITHOUT_MEANING: dict[str, str] = OTHERWISE | {
    "DATA_DIR": "relative paths are searched in the current directory and under POSE_DATA",
    "DATASET.DATASET_TEST": "every split has the same evaluation",
    "DATASET.GET_RESCORE_DATA": "a command of its own: pose-dekr rescore-data",
    "DEBUG.SAVE_TAGMAPS_PRED": OTHERWISE["DEBUG.DEBUG"],
    "RESCORE.GET_DATA": "a command of its own: pose-dekr rescore-data",
    "RESCORE.MODEL_ROOT": "rescore.weights names the whole path",
    "TEST.IMAGES_PER_GPU": "whole images are evaluated one by one",
}
"""Keys about the machine, paths, logs and commands: how it is done here instead."""

READ = (
    "GPUS", "WORKERS", "PRINT_FREQ", "MODEL.NAME", "MODEL.NUM_JOINTS", "MODEL.INIT_WEIGHTS", "MODEL.PRETRAINED",
    "DATASET.DATASET", "DATASET.NUM_JOINTS", "DATASET.ROOT", "DATASET.TRAIN", "DATASET.TEST", "DATASET.INPUT_SIZE",
    "DATASET.OUTPUT_SIZE", "DATASET.SIGMA", "DATASET.CENTER_SIGMA", "DATASET.BG_WEIGHT", "DATASET.OFFSET_RADIUS",
    "DATASET.FLIP", "DATASET.MAX_ROTATION", "DATASET.MIN_SCALE", "DATASET.MAX_SCALE", "DATASET.MAX_TRANSLATE",
    "DATASET.SCALE_TYPE", "DATASET.MAX_NUM_PEOPLE", "LOSS.HEATMAPS_LOSS_FACTOR", "LOSS.OFFSETS_LOSS_FACTOR",
    "LOSS.WITH_HEATMAPS_LOSS", "LOSS.WITH_OFFSETS_LOSS", "TRAIN.BEGIN_EPOCH", "TRAIN.END_EPOCH", "TRAIN.OPTIMIZER",
    "TRAIN.LR", "TRAIN.LR_STEP", "TRAIN.LR_FACTOR", "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV",
    "TRAIN.IMAGES_PER_GPU", "TEST.FLIP_TEST", "TEST.SCALE_FACTOR", "TEST.KEYPOINT_THRESHOLD", "TEST.ADJUST_THRESHOLD",
    "TEST.MAX_ABSORB_DISTANCE", "TEST.GUASSIAN_KERNEL", "RESCORE.END_EPOCH", "RESCORE.LR", "RESCORE.BATCHSIZE",
    "RESCORE.HIDDEN_LAYER", "RESCORE.MODEL_FILE", "RESCORE.DATA_FILE",
)  # fmt: skip
"""Keys that both systems read, and that are converted."""

OWN = {
    "dekr": ("TEST.NMS_THRE", "TEST.NMS_NUM_THRE", "TEST.DECREASE", "TEST.MATCH_HMP", "RESCORE.VALID"),
    "bottomup": ("TEST.DIST_THRESHOLD", "TEST.OVERLAP_THRESHOLD", "TEST.SCALE_DECREASE", "TEST.WITH_HEATMAPS",
                 "RESCORE.USE"),
}  # fmt: skip
"""Keys that one system reads, and that are converted; the other does not read them."""

_BOTTOMUP: dict[str, Any] = {
    "DATASET.OFFSET_REG": True, "DATASET.WITH_CENTER": True, "DATASET.USE_BBOX_CENTER": False,
    "TEST.GUASSIAN_SIGMA": 2.0,
}  # fmt: skip
FIXED: dict[str, dict[str, Any]] = {
    "dekr": {"TEST.POOL_THRESHOLD1": 300, "TEST.POOL_THRESHOLD2": 200},
    "bottomup": {"TEST.POOL_THRESHOLD1": 300, "TEST.POOL_THRESHOLD2": 200, **_BOTTOMUP},
}
"""Keys that a system reads, and that have this value in every published file or by default; here no other."""

NEVER = (
    *UNREAD, "TEST.NMS_KERNEL", "TEST.NMS_PADDING", "TRAIN.SHUFFLE", "*.REG_THRESHOLD", "*.USE_DECREASE_SCORE",
    "*.BASE_SIGMA", "*.BASE_SIZE", "*.IGNORE_CENTER", "*.REG_GROUP", "*.BBOX_*", "MODEL.EXTRA.STEM_INPLANES",
    "MODEL.*.FUSE_METHOD",
)  # fmt: skip
"""Keys that neither system reads, as patterns. Branches of different resolution are always added: no FUSE_METHOD."""

DECONVOLUTION = tuple(
    f"MODEL.EXTRA.DECONV.{name}" for name in ("NUM_BASIC_BLOCKS", "NUM_CHANNELS", "KERNEL_SIZE", "CAT_OUTPUT")
)
"""Keys that Bottom-Up reads only with a deconvolution."""


def _rescores_nothing(system: str, values: Mapping[str, Any]) -> bool:
    """Return whether neither evaluation nor training of the scoring network is what the file is about."""
    uses = values.get("RESCORE.VALID" if system == "dekr" else "RESCORE.USE", False)
    return uses is False and "MODEL.NAME" in values and not values.get("RESCORE.GET_DATA")


def unread_rules(system: str) -> list[Unread]:
    """Return the keys that the code of a system, dekr or bottomup, does not read: never, or in some files."""
    other = "bottomup" if system == "dekr" else "dekr"
    never = [key for key in NEVER if key not in OWN[system]]
    theirs = [*OWN[other], *(key for key in FIXED[other] if key not in FIXED[system])]
    theirs += ["MODEL.EXTRA.*", "LOSS.NUM_STAGES"] if system == "dekr" else ["MODEL.SPEC.*"]
    return [
        Unread(tuple(never), NOT_READ, lambda values: True),
        Unread(tuple(theirs), f"{NOT_READ}: about the other system", lambda values: True),
        ADAM,
        *INITIAL_WEIGHTS,
        Unread(
            ("DATASET.CENTER_SIGMA",),
            f"{NOT_READ} for CrowdPose: its center is drawn with SIGMA",
            lambda values: values.get("DATASET.DATASET") == "crowd_pose_kpt",
        ),
        Unread(
            DECONVOLUTION,
            f"{NOT_READ} without a deconvolution (NUM_DECONVS 0)",
            lambda values: values.get("MODEL.EXTRA.DECONV.NUM_DECONVS", 0) == 0,
        ),
        Unread(
            ("RESCORE.HIDDEN_LAYER",),
            f"{NOT_READ} where nothing is rescored",
            lambda values: _rescores_nothing(system, values),
        ),
    ]


HEAD = {
    "MODEL.SPEC.HEAD_HEATMAP.BLOCK": "BASIC", "MODEL.SPEC.HEAD_HEATMAP.NUM_BLOCKS": 1,
    "MODEL.SPEC.HEAD_HEATMAP.DILATION_RATE": 1, "MODEL.SPEC.HEAD_OFFSET.BLOCK": "ADAPTIVE",
    "MODEL.SPEC.HEAD_OFFSET.NUM_BLOCKS": 2, "MODEL.SPEC.HEAD_OFFSET.NUM_CHANNELS_PERKPT": 15,
    "MODEL.SPEC.HEAD_OFFSET.DILATION_RATE": 1, "MODEL.SPEC.FINAL_CONV_KERNEL": 1,
    "MODEL.SPEC.STAGES.NUM_STAGES": 3,
    "MODEL.SPEC.STAGES.NUM_MODULES": [1, 4, 3], "MODEL.SPEC.STAGES.NUM_BRANCHES": [2, 3, 4],
    "MODEL.SPEC.STAGES.BLOCK": ["BASIC"] * 3,
    "MODEL.SPEC.STAGES.NUM_BLOCKS": [[4] * 2, [4] * 3, [4] * 4],
}  # fmt: skip


def dekr_layers(width: int) -> dict[str, Any]:
    """Return the layers that DEKR's code reads in MODEL.SPEC, for a width, by dotted keys."""
    channels = [[width * 2**branch for branch in range(count)] for count in (2, 3, 4)]
    return HEAD | {"MODEL.SPEC.HEAD_HEATMAP.NUM_CHANNELS": width, "MODEL.SPEC.STAGES.NUM_CHANNELS": channels}


def bottomup_layers(width: int, *, higher: bool) -> dict[str, Any]:
    """Return the layers that Bottom-Up's code reads in MODEL.EXTRA, for a width, by dotted keys."""
    layers: dict[str, Any] = {"FINAL_CONV_KERNEL": 1}
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        layers |= {
            f"STAGE{stage}.NUM_MODULES": modules, f"STAGE{stage}.NUM_BRANCHES": stage, f"STAGE{stage}.BLOCK": "BASIC",
            f"STAGE{stage}.NUM_BLOCKS": [4] * stage,
            f"STAGE{stage}.NUM_CHANNELS": [width * 2**branch for branch in range(stage)],
        }  # fmt: skip
    heat, regression = "MULTI_LEVEL_OUTPUT_HEATMAP.", "MULTI_LEVEL_OUTPUT_REGRESSION."
    layers |= {
        "DECONV.NUM_DECONVS": int(higher), "DECONV.NUM_BASIC_BLOCKS": 1, "DECONV.NUM_CHANNELS": [width],
        "DECONV.KERNEL_SIZE": [4], "DECONV.CAT_OUTPUT": [True],
        f"{heat}BLOCK": ["STNBLOCK"] * 3, f"{heat}NUM_BLOCKS": [1] * 3, f"{heat}NUM_CHANNELS": [width] * 3,
        f"{heat}DILATION_RATE": [1, 2, 3],
        f"{regression}BLOCK": ["STNBLOCK"], f"{regression}NUM_BLOCKS": [1], f"{regression}NUM_CHANNELS": [256],
        f"{regression}DILATION_RATE": [1],
    }  # fmt: skip
    return {f"MODEL.EXTRA.{key}": value for key, value in layers.items()}
