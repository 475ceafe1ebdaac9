"""Published files of the lightweight networks: which keys are read, for each kind of network."""

from __future__ import annotations

from typing import Any

import pytest

from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import FIXED, MEANINGLESS, READ, TRUNK
from pose_core.plugins.convert.networks import HRNET_TABLES
from pose_core.plugins.convert.source import render_notes
from pose_core.plugins.published import convert_published
from pose_testing.published import ANY_VALUE, changes, nested

SHARED: dict[str, Any] = {
    "GPUS": [0, 1], "WORKERS": 4, "PRINT_FREQ": 100, "DATA_DIR": "/data",
    "DATASET.DATASET": "coco", "DATASET.ROOT": "coco/", "DATASET.TEST_SET": "val2017",
    "DATASET.TRAIN_SET": "train2017", "DATASET.FLIP": True, "DATASET.ROT_FACTOR": 45, "DATASET.SCALE_FACTOR": 0.35,
    "DATASET.PROB_HALF_BODY": 0.3, "DATASET.NUM_JOINTS_HALF_BODY": 8, "DATASET.COLOR_RGB": True,
    "DATASET.SELECT_DATA": False,
    "MODEL.INIT_WEIGHTS": True, "MODEL.PRETRAINED": "imagenet.pth", "MODEL.IMAGE_SIZE": [192, 256],
    "MODEL.HEATMAP_SIZE": [48, 64], "MODEL.SIGMA": 2, "MODEL.NUM_JOINTS": 17, "MODEL.TARGET_TYPE": "gaussian",
    "MODEL.SYNC_BN": False, "MODEL.EXTRA.FINAL_CONV_KERNEL": 1,
    "LOSS.USE_TARGET_WEIGHT": True, "LOSS.USE_DIFFERENT_JOINTS_WEIGHT": False,
    "TRAIN.BATCH_SIZE_PER_GPU": 32, "TRAIN.SHUFFLE": True, "TRAIN.BEGIN_EPOCH": 0, "TRAIN.END_EPOCH": 210,
    "TRAIN.OPTIMIZER": "sgd", "TRAIN.LR": 0.001, "TRAIN.LR_FACTOR": 0.1, "TRAIN.LR_STEP": [170, 200],
    "TRAIN.WD": 0.0001, "TRAIN.MOMENTUM": 0.9, "TRAIN.NESTEROV": False,
    "TEST.BATCH_SIZE_PER_GPU": 32, "TEST.FLIP_TEST": True, "TEST.POST_PROCESS": True, "TEST.SHIFT_HEATMAP": True,
    "TEST.SOFT_ARGMAX": False, "TEST.BIAS": 0.0, "TEST.USE_GT_BBOX": True, "TEST.COCO_BBOX_FILE": "boxes.json",
    "TEST.IMAGE_THRE": 0.0, "TEST.IN_VIS_THRE": 0.2, "TEST.OKS_THRE": 0.9, "TEST.SOFT_NMS": False,
}  # fmt: skip
"""The keys that are read with every network; it trains with SGD, so that those keys are read, too."""
DECONVOLUTIONS = ("DECONV_WITH_BIAS", "NUM_DECONV_LAYERS", "NUM_DECONV_FILTERS", "NUM_DECONV_KERNELS", "NUM_LAYERS")
LAYERS: dict[str, dict[str, Any]] = {
    "pose_hrnet": {**HRNET_TABLES["hrnet_w32"], "PRETRAINED_LAYERS": list(TRUNK)},
    "lpn": dict(zip(DECONVOLUTIONS, (False, 2, [256] * 2, [4] * 2, 50), strict=True)) | {"ATTENTION": "GC"},
    "pose_resnet": dict(zip(DECONVOLUTIONS, (False, 3, [256] * 3, [4] * 3, 50), strict=True)),
}
FILES = {
    name: {**SHARED, "MODEL.NAME": name, **{f"MODEL.EXTRA.{key}": value for key, value in layers.items()}}
    for name, layers in LAYERS.items()
}
FILES["pose_resnet"]["MODEL.STYLE"] = "pytorch"
OF_THE_OLDER_FAMILY = {"MODEL.STYLE", "TRAIN.BATCH_SIZE", "TEST.BATCH_SIZE"}
ALL_LAYERS = {key for layers in LAYERS.values() for key in layers} | {f"STAGE{n}.FUSE_METHOD" for n in (2, 3, 4)}


def test_the_files_state_every_key_that_is_read() -> None:
    assert {*SHARED, "MODEL.NAME"} - {"MODEL.EXTRA.FINAL_CONV_KERNEL"} == {*READ, *FIXED} - OF_THE_OLDER_FAMILY


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in FILES for key in FILES[name]])
def test_a_key_that_is_read_changes_the_experiment_or_is_refused(name: str, key: str) -> None:
    assert changes(FILES[name], key, "256x192.yaml")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("value", ANY_VALUE, ids=str)
def test_a_key_that_is_not_read_changes_nothing(name: str, value: Any) -> None:
    file = FILES[name]
    layers = [f"MODEL.EXTRA.{key}" for key in ALL_LAYERS if f"MODEL.EXTRA.{key}" not in file]
    style = [] if name == "pose_resnet" else ["MODEL.STYLE"]
    plain = convert_published(nested(file), "x.yaml").config
    for key in (*MEANINGLESS, *layers, *style, "MODEL.EXTRA.SIGMA", "MODEL.EXTRA.TARGET_TYPE", "FUSE.X", "GCN.Y"):
        assert convert_published(nested(file | {key: value}), "x.yaml").config == plain, key


MPII = {"DATASET.DATASET": "mpii", "MODEL.NUM_JOINTS": 16}
ONLY_WITH: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"TRAIN.OPTIMIZER": "adam"}, ("TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV")),
    ({"MODEL.INIT_WEIGHTS": False}, ("MODEL.PRETRAINED", "MODEL.EXTRA.PRETRAINED_LAYERS")),
    ({"MODEL.PRETRAINED": ""}, ("MODEL.EXTRA.PRETRAINED_LAYERS",)),
    ({"DATASET.PROB_HALF_BODY": -1.0}, ("DATASET.NUM_JOINTS_HALF_BODY",)),
    (MPII, ("TEST.COCO_BBOX_FILE", "TEST.USE_GT_BBOX", "TEST.IMAGE_THRE", "TEST.OKS_THRE", "TEST.SOFT_NMS",
            "TEST.IN_VIS_THRE")),
]  # fmt: skip
"""Settings with which further keys are not read."""


@pytest.mark.parametrize(("change", "keys"), ONLY_WITH, ids=lambda each: "+".join(each))
@pytest.mark.parametrize("value", ANY_VALUE, ids=str)
def test_a_key_that_is_not_read_in_such_a_file_changes_nothing(
    change: dict[str, Any], keys: tuple[str, ...], value: Any
) -> None:
    file = FILES["pose_hrnet"] | change
    plain = convert_published(nested({k: v for k, v in file.items() if k not in keys}), "x.yaml").config
    for key in keys:
        assert convert_published(nested(file | {key: value}), "x.yaml").config == plain, key


def test_paths_are_in_data_dir() -> None:
    config = convert_published(nested(FILES["pose_hrnet"]), "x.yaml").config
    assert (config["data"]["root"], config["model"]["pretrained"]) == ("/data/coco", "/data/imagenet.pth")
    plain = convert_published(nested(FILES["pose_hrnet"] | {"DATA_DIR": ""}), "x.yaml").config
    assert (plain["data"]["root"], plain["model"]["pretrained"]) == ("coco", "imagenet.pth")


def test_a_part_of_the_pretrained_layers_is_refused() -> None:
    def convert(layers: list[str]) -> str:
        flat = FILES["pose_hrnet"] | {"MODEL.EXTRA.PRETRAINED_LAYERS": layers}
        return str(convert_published(nested(flat), "x.yaml").config["model"]["pretrained"])

    assert convert(["*"]) == convert([*TRUNK, "final_layer"]) == "/data/imagenet.pth"
    with pytest.raises(ConfigError, match=r"PRETRAINED_LAYERS is \['conv1'\]; here all layers of the backbone are"):
        convert(["conv1"])


def test_notes_say_what_is_not_read_and_what_the_published_code_cannot_do() -> None:
    def notes(**change: Any) -> str:
        flat = FILES["pose_hrnet"] | {key.replace("__", "."): value for key, value in change.items()}
        return " ".join(render_notes(convert_published(nested(flat), "x.yaml")).split())

    assert "MODEL.EXTRA.PRETRAINED_LAYERS: not read by the published code with INIT_WEIGHTS false" in (
        notes(MODEL__INIT_WEIGHTS=False).replace("MODEL.PRETRAINED, ", "")
    )
    assert "MODEL.EXTRA.ATTENTION: not read by the published code: a layer of another network" in (
        notes(MODEL__EXTRA__ATTENTION="GC")
    )
    assert "stops at the first evaluation on MPII" in notes(DATASET__DATASET="mpii", MODEL__NUM_JOINTS=16)
    assert "stops at" not in notes()
