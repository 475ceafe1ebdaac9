"""Published YAML files: every key mapped, explained or refused."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pose_core.config import parse_config
from pose_core.errors import ConfigError
from pose_core.plugins.convert.keys import BOXES_ONLY, FIXED, MEANINGLESS, TRUNK, known_keys
from pose_core.plugins.convert.networks import HRNET_TABLES
from pose_core.plugins.convert.source import Converted, render_notes
from pose_core.plugins.experiments import load_config
from pose_core.plugins.published import convert_published, is_published
from pose_core.topdown.config import TopDownConfig

LPN = {
    "GPUS": "(0,1,2,3)",
    "WORKERS": 4,
    "OUTPUT_DIR": "output",
    "DATASET": {"DATASET": "coco", "ROOT": "data/coco/", "TRAIN_SET": "train2017", "TEST_SET": "val2017",
                "DATA_FORMAT": "jpg", "COLOR_RGB": True, "FLIP": True, "PROB_HALF_BODY": -1.0, "ROT_FACTOR": 45,
                "SCALE_FACTOR": 0.35},
    "MODEL": {"NAME": "lpn", "NUM_JOINTS": 17, "PRETRAINED": "", "IMAGE_SIZE": [192, 256], "HEATMAP_SIZE": [48, 64],
              "SIGMA": 2, "TARGET_TYPE": "gaussian",
              "EXTRA": {"ATTENTION": "GC", "NUM_LAYERS": 18, "NUM_DECONV_LAYERS": 2}},
    "LOSS": {"USE_TARGET_WEIGHT": True},
    "TRAIN": {"BATCH_SIZE_PER_GPU": 32, "OPTIMIZER": "adam", "WD": 0.0001, "LR": 0.001, "LR_STEP": [90, 120],
              "BEGIN_EPOCH": 0, "END_EPOCH": 150},
    "TEST": {"SOFT_ARGMAX": True, "POST_PROCESS": True, "USE_GT_BBOX": True, "FLIP_TEST": True, "IMAGE_THRE": 0.0,
             "COCO_BBOX_FILE": "data/coco/boxes/dets.json", "OKS_THRE": 0.9},
    "DEBUG": {"DEBUG": True},
}  # fmt: skip

OLD = {
    "GPUS": "0",
    "DATASET": {"DATASET": "mpii", "ROOT": "data/mpii/", "TEST_SET": "valid", "TRAIN_SET": "train", "ROT_FACTOR": 30},
    "MODEL": {"NAME": "pose_resnet", "PRETRAINED": "resnet50-caffe.pth.tar", "STYLE": "caffe", "NUM_JOINTS": 16,
              "IMAGE_SIZE": [384, 384],
              "EXTRA": {"TARGET_TYPE": "gaussian", "SIGMA": 3, "HEATMAP_SIZE": [96, 96], "NUM_LAYERS": 50,
                        "NUM_DECONV_FILTERS": [256, 256, 256]}},
    "TRAIN": {"BATCH_SIZE": 24, "END_EPOCH": 140, "LR_STEP": [90, 120]},
    "TEST": {"BATCH_SIZE": 16, "FLIP_TEST": False},
}  # fmt: skip
"""The oldest layout of these files, with sizes under EXTRA."""


def changed(content: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return a copy with values set: ``MODEL__NAME="x"`` is MODEL.NAME."""
    result = deepcopy(content)
    for key, value in values.items():
        *parents, last = key.split("__")
        block = result
        for parent in parents:
            block = block.setdefault(parent, {})
        block[last] = value
    return result


def hrnet(name: str) -> dict[str, Any]:
    extra: dict[str, Any] = {"PRETRAINED_LAYERS": list(TRUNK)}
    for key, value in HRNET_TABLES[name].items():
        section, _, last = key.rpartition(".")
        (extra.setdefault(section, {}) if section else extra)[last] = deepcopy(value)
    return changed(LPN, MODEL__NAME="pose_hrnet", MODEL__EXTRA=extra, MODEL__PRETRAINED="hrnet.pth")


def flat(converted: Converted) -> str:
    """Return the notes without their line breaks."""
    return " ".join(render_notes(converted).split())


def parsed(converted: Converted) -> TopDownConfig:
    return parse_config(converted.config, TopDownConfig, "here")


def test_a_file_converts_to_our_keys() -> None:
    config = parsed(convert_published(LPN, "lpn18_256x192.yaml"))
    assert config.model.name == "lpn_18"
    assert config.model.input_size == (192, 256)
    assert config.heatmap.decode == "soft_argmax"
    assert config.heatmap.quarter
    assert config.heatmap_size == (48, 64)
    assert config.train.batch_size == 128
    assert config.train.weight_decay == 0
    assert config.train.epochs == 150
    assert config.augment.half_body == 0
    assert config.augment.flip == 0.5
    assert config.data.root == "data/coco"
    assert config.data.detections == "boxes/dets.json"
    assert config.data.min_box_score == 0
    assert config.test.boxes == "gt"
    assert config.test.oks_threshold == 0.9
    assert not config.test.shift_heatmap


def test_the_oldest_layout_has_its_own_defaults() -> None:
    config = parsed(convert_published(OLD, "res50.yaml"))
    assert config.model.name == "simplebaseline_resnet50_caffe"
    assert config.heatmap.sigma == 3
    assert config.heatmap.stride == 4
    assert config.heatmap.quarter
    assert config.test.shift_heatmap
    assert config.data.color == "bgr"
    assert config.data.skeleton == "mpii16"
    assert (config.train.batch_size, config.test.batch_size) == (24, 16)


def test_every_key_of_a_file_is_accounted_for_once() -> None:
    for content in (LPN, OLD, hrnet("hrnet_w32")):
        converted = convert_published(content, "lpn18.yaml")
        named = [line.split(" → ")[0] for line in converted.mapped]
        named += [line.split(": ")[0] for line in converted.meaningless]
        assert sorted(named) == sorted(_dotted(content))


def _dotted(content: dict[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in content.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return keys


def test_no_key_is_in_two_tables() -> None:
    assert not MEANINGLESS.keys() & FIXED.keys()
    assert set(BOXES_ONLY) <= set(known_keys())


def test_notes_say_what_was_chosen() -> None:
    text = flat(convert_published(LPN, "lpn18_256x192.yaml"))
    assert "32 per GPU on 4 GPUs is 128 as written" in text
    assert "512 in all" in text
    assert "never applied with Adam" in text
    assert "train.epochs ← TRAIN.BEGIN_EPOCH, TRAIN.END_EPOCH" in text
    assert "DEBUG.DEBUG: images are drawn on demand" in text
    assert max(len(line) for line in render_notes(convert_published(hrnet("hrnet_w32"), "x.yaml")).splitlines()) <= 110
    assert "taken as lpn_18, by the file's name" in text
    endless = convert_published(changed(LPN, TRAIN__END_EPOCH=210000), "lpn50.yaml")
    assert endless.config["train"]["epochs"] == 160
    assert "until stopped" in flat(endless)
    sgd = convert_published(changed(LPN, TRAIN__OPTIMIZER="sgd"), "lpn50.yaml")
    assert sgd.config["train"]["weight_decay"] == 1e-4
    assert "never applied" not in flat(sgd)


def test_mpii_ignores_boxes() -> None:
    converted = convert_published(changed(OLD, TEST__COCO_BBOX_FILE="dets.json", TEST__OKS_THRE=0.9), "x.yaml")
    assert "detections" not in converted.config["data"]
    assert any(line.startswith("TEST.COCO_BBOX_FILE: about detected boxes") for line in converted.meaningless)


@pytest.mark.parametrize(("text", "boxes"), [(True, "gt"), (False, "detections")])
def test_boxes_follow_use_gt_bbox(text: bool, boxes: str) -> None:
    assert convert_published(changed(LPN, TEST__USE_GT_BBOX=text), "x.yaml").config["test"]["boxes"] == boxes


@pytest.mark.parametrize("name", HRNET_TABLES)
def test_an_hrnet_is_known_by_its_stage_table(name: str) -> None:
    converted = convert_published(hrnet(name), "x.yaml")
    assert converted.config["model"]["name"] == name
    assert ("4 x 64" in flat(converted)) == (name == "hrnet_w18_small_v1")
    assert "model.pretrained (all layers of the backbone) ← MODEL.EXTRA.PRETRAINED_LAYERS" in flat(converted)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("lpn18h_256x192_gd256x2_gc.yaml", "lpn_18h"),
        ("coco_lpn_lpn18_256x192.yaml", "lpn_18"),
        ("mine.yaml", "lpn_18h"),
        ("lpn34h.yaml", "lpn_18h"),
    ],
)
def test_the_file_name_decides_between_networks_with_the_same_content(file: str, name: str) -> None:
    assert convert_published(LPN, file).config["model"]["name"] == name


@pytest.mark.parametrize(("published", "ours"), [("GC", None), ("SE", "SE"), ("other", "none")])
def test_attention_becomes_an_option(published: str, ours: str | None) -> None:
    model = convert_published(changed(LPN, MODEL__EXTRA__ATTENTION=published), "x.yaml").config["model"]
    assert model.get("options", {}).get("attention") == ours


@pytest.mark.parametrize(
    ("gpus", "count"), [("(0,1,2,3)", 4), ("0", 1), (0, 1), ("0,1", 2), ((0, 1, 2), 3), ("(0,)", 1)]
)
def test_gpus_are_written_in_many_ways(gpus: Any, count: int) -> None:
    assert convert_published(changed(LPN, GPUS=gpus), "x.yaml").config["train"]["batch_size"] == 32 * count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TRAIN__LR_STEPS": [1]}, r"unknown key TRAIN\.LR_STEPS; did you mean TRAIN\.LR_STEP\?"),
        (
            {"MODEL__EXTRA__NUM_LAYER": 18},
            r"unknown key MODEL\.EXTRA\.NUM_LAYER; did you mean MODEL\.EXTRA\.NUM_LAYERS",
        ),
        ({"DATASET__DATASET": "imagenet"}, "'imagenet' is none of coco"),
        ({"MODEL__NAME": "pose_hrnt"}, "did you mean pose_hrnet"),
        ({"MODEL__NAME": "vgg"}, "MODEL.NAME 'vgg' is not known to the installed methods .*; known are .*lpn"),
        ({"MODEL__NUM_JOINTS": 16}, "NUM_JOINTS is 16, but coco has the 17 joints"),
        ({"MODEL__NAME": "pose_hrnet"}, r"needs MODEL\.EXTRA\.STAGE2"),
        ({"MODEL__HEATMAP_SIZE": [50, 64]}, "HEATMAP_SIZE"),
        ({"MODEL__HEATMAP_SIZE": [400, 600]}, "HEATMAP_SIZE"),
        ({"MODEL__IMAGE_SIZE": 256}, r"MODEL\.IMAGE_SIZE is 256; expected \[width, height\]"),
        ({"MODEL__IMAGE_SIZE": [0, 256]}, "IMAGE_SIZE"),
        ({"MODEL__EXTRA__NUM_LAYERS": "18m"}, "NUM_LAYERS is '18m'; known are 18, 34"),
        ({"MODEL__EXTRA__NUM_DECONV_LAYERS": 3}, "NUM_DECONV_LAYERS is 3; lpn_18 has 2"),
        ({"MODEL__TARGET_TYPE": "offset"}, "TARGET_TYPE is 'offset'; here it can only be 'gaussian'"),
        ({"LOSS__USE_TARGET_WEIGHT": False}, "USE_TARGET_WEIGHT is False"),
        ({"TRAIN__LR": "fast"}, r"TRAIN\.LR is 'fast'; expected a number"),
        ({"TRAIN__LR_STEP": 90}, r"TRAIN\.LR_STEP is 90; expected a list"),
        ({"TRAIN__END_EPOCH": 1.5}, "END_EPOCH is 1.5; expected a whole number"),
        ({"TEST__FLIP_TEST": "maybe"}, "FLIP_TEST is 'maybe'; expected true or false"),
        ({"DATASET__ROOT": ["a"]}, "ROOT is"),
        ({"GPUS": "all"}, "GPUS is 'all'"),
    ],
)
def test_errors_name_what_cannot_be_converted(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert_published(changed(LPN, **change), "x.yaml")


def test_unknown_network_variants_are_refused() -> None:
    content = changed(hrnet("hrnet_w32"), MODEL__EXTRA__STAGE3__NUM_BLOCKS=[4, 4, 2])
    with pytest.raises(ConfigError, match=r"STAGE3\.NUM_BLOCKS is \[4, 4, 2\]; hrnet_w32 has \[4, 4, 4\]"):
        convert_published(content, "x.yaml")
    with pytest.raises(ConfigError, match="caffe"):
        convert_published(changed(OLD, MODEL__STYLE="tf"), "x.yaml")
    with pytest.raises(ConfigError, match="NUM_LAYERS is 18"):
        convert_published(changed(OLD, MODEL__EXTRA__NUM_LAYERS=18), "x.yaml")


@given(st.sampled_from(_dotted(LPN)), st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.floats())))
def test_any_value_converts_or_is_refused_by_name(key: str, value: Any) -> None:
    content = changed(LPN, **{key.replace(".", "__"): value})
    message = "x.yaml"
    try:
        convert_published(content, "x.yaml")
    except ConfigError as error:
        message = str(error)
    assert "x.yaml" in message


def test_a_published_file_loads_like_one_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "lpn50_mine.yaml"
    file.write_text(yaml.safe_dump(changed(LPN, MODEL__EXTRA__NUM_LAYERS=50)))
    config = load_config(file, ["train.epochs=1"])
    assert (config.name, config.model.name, config.train.epochs) == ("lpn50_mine", "lpn_50", 1)


def test_published_files_are_recognized() -> None:
    assert is_published(LPN)
    assert not is_published({"method": "lite", "model": {"name": "lpn_18"}})
