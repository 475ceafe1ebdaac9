"""Published files of the multi-resolution networks: which keys are read, and what the file becomes."""

from __future__ import annotations

from typing import Any

import pytest

from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import FIXED, MEANINGLESS, READ
from pose_core.plugins.convert.source import render_notes
from pose_core.plugins.published import convert_published
from pose_testing.published import ANY_VALUE, changes, dotted, nested

FILE: dict[str, Any] = {
    "GPUS": "0,1", "WORKERS": 4, "PRINT_FREQ": 100,
    "DATASET.DATASET": "coco", "DATASET.ROOT": "data/coco/", "DATASET.TEST_SET": "val2017",
    "DATASET.TRAIN_SET": "train2017", "DATASET.FLIP": True, "DATASET.ROT_FACTOR": 40, "DATASET.SCALE_FACTOR": 0.3,
    "MODEL.NAME": "mrheat1_pose_resnet", "MODEL.INIT_WEIGHTS": True, "MODEL.PRETRAINED": "resnet50-19c8e357.pth",
    "MODEL.STYLE": "pytorch", "MODEL.IMAGE_SIZE": [192, 256], "MODEL.NUM_JOINTS": 17,
    "MODEL.EXTRA.TARGET_TYPE": "gaussian", "MODEL.EXTRA.HEATMAP_SIZE": [48, 64], "MODEL.EXTRA.SIGMA": 2,
    "MODEL.EXTRA.FINAL_CONV_KERNEL": 1, "MODEL.EXTRA.DECONV_WITH_BIAS": False,
    "MODEL.EXTRA.NUM_DECONV_FILTERS": [256, 256, 256], "MODEL.EXTRA.NUM_DECONV_KERNELS": [4, 4, 4],
    "MODEL.EXTRA.NUM_LAYERS": 50,
    "LOSS.USE_TARGET_WEIGHT": True, "DATASET.SELECT_DATA": False,
    "TRAIN.BATCH_SIZE": 64, "TRAIN.SHUFFLE": True, "TRAIN.BEGIN_EPOCH": 0, "TRAIN.END_EPOCH": 170,
    "TRAIN.OPTIMIZER": "sgd", "TRAIN.LR": 0.001, "TRAIN.LR_FACTOR": 0.1, "TRAIN.LR_STEP": [120, 150],
    "TRAIN.WD": 0.0001, "TRAIN.MOMENTUM": 0.9, "TRAIN.NESTEROV": False,
    "TEST.BATCH_SIZE": 32, "TEST.FLIP_TEST": False, "TEST.POST_PROCESS": True, "TEST.SHIFT_HEATMAP": True,
    "TEST.USE_GT_BBOX": True, "TEST.COCO_BBOX_FILE": "boxes.json", "TEST.IMAGE_THRE": 0.0, "TEST.IN_VIS_THRE": 0.2,
    "TEST.OKS_THRE": 0.9,
}  # fmt: skip
"""A file that states every key that the published code reads; it trains with SGD, so that those keys are read, too."""
NOT_OF_THIS_FAMILY = {"DATA_DIR", "MODEL.SYNC_BN", "MODEL.HEATMAP_SIZE", "MODEL.SIGMA", "MODEL.TARGET_TYPE",
                      "DATASET.COLOR_RGB", "DATASET.PROB_HALF_BODY", "DATASET.NUM_JOINTS_HALF_BODY",
                      "LOSS.USE_DIFFERENT_JOINTS_WEIGHT", "TRAIN.BATCH_SIZE_PER_GPU", "TEST.BATCH_SIZE_PER_GPU",
                      "TEST.SOFT_ARGMAX", "TEST.BIAS", "TEST.SOFT_NMS"}  # fmt: skip
"""Keys of the other top-down files."""


def test_the_file_states_every_key_that_is_read() -> None:
    read = {*READ, *FIXED} - NOT_OF_THIS_FAMILY
    assert {key for key in FILE if not key.startswith("MODEL.EXTRA.")} == read


@pytest.mark.parametrize("key", FILE)
def test_a_key_that_is_read_changes_the_experiment_or_is_refused(key: str) -> None:
    assert changes(FILE, key, "256x192_d256x3_adam_lr1e-3.yaml")


@pytest.mark.parametrize("value", ANY_VALUE, ids=str)
def test_a_key_that_is_not_read_changes_nothing(value: Any) -> None:
    others = ("ATTENTION", "PRETRAINED_LAYERS", "STAGE2.NUM_BLOCKS", "STAGE3.FUSE_METHOD", "NUM_DECONV_LAYERS")
    unread = [*MEANINGLESS, *(f"MODEL.EXTRA.{key}" for key in others), "DATA_DIR", "MODEL.NET.NSTACKS"]
    plain = convert_published(nested(FILE), "x.yaml").config
    for key in unread:
        assert convert_published(nested(FILE | {key: value}), "x.yaml").config == plain, key
    with_adam = FILE | {"TRAIN.OPTIMIZER": "adam"}
    plain = convert_published(nested(with_adam), "x.yaml").config
    for key in ("TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV"):
        assert convert_published(nested(with_adam | {key: value}), "x.yaml").config == plain, key
    mpii = FILE | {"DATASET.DATASET": "mpii", "MODEL.NUM_JOINTS": 16, "MODEL.INIT_WEIGHTS": False}
    plain = convert_published(nested(mpii), "x.yaml").config
    assert (plain["model"]["init"], plain["model"].get("pretrained")) == ("framework", None)
    for key in ("TEST.COCO_BBOX_FILE", "TEST.USE_GT_BBOX", "TEST.OKS_THRE", "MODEL.PRETRAINED"):
        assert convert_published(nested(mpii | {key: value}), "x.yaml").config == plain, key


def test_filters_that_mrfea2_does_not_read() -> None:
    def network(filters: list[int]) -> str:
        flat = FILE | {"MODEL.NAME": "mrfea2_pose_resnet", "MODEL.EXTRA.NUM_DECONV_FILTERS": filters}
        return str(convert_published(nested(flat), "x.yaml").config["model"]["name"])

    assert network([7, 8, 256]) == "mrfea2_resnet50"
    with pytest.raises(ConfigError, match=r"NUM_DECONV_FILTERS is \[256, 256, 128\]; mrfea2_resnet50 has"):
        network([256, 256, 128])


def test_notes_name_what_the_published_code_cannot_do() -> None:
    def notes(**change: Any) -> str:
        flat = FILE | {key.replace("__", "."): value for key, value in change.items()}
        return " ".join(render_notes(convert_published(nested(flat), "x.yaml")).split())

    assert "the backward pass of the published mrheat1_pose_resnet fails" in notes()
    assert "backward pass" not in notes(MODEL__NAME="mrheat2_pose_resnet")
    assert "stops with 18 and 34 layers" in notes(MODEL__NAME="mrfea1_pose_resnet", MODEL__EXTRA__NUM_LAYERS=18)
    assert "does not train without a file of MODEL.PRETRAINED" in notes(MODEL__PRETRAINED="")
    assert "does not train without" not in notes(MODEL__PRETRAINED="", MODEL__INIT_WEIGHTS=False)
    assert "has only adam and sgd" in notes(TRAIN__OPTIMIZER="rmsprop")
    assert sorted(dotted(nested(FILE))) == sorted(FILE)
