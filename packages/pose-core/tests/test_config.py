"""Configurations: typed, strict, and helpful about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pose_core.config import (
    Config,
    all_keys,
    apply_overrides,
    dump_config,
    find_data_root,
    is_published,
    load_config,
    nearest_key,
    parse_config,
)
from pose_core.convert import convert_published, render_notes
from pose_core.errors import ConfigError
from pose_core.method import Method, get_method, installed_methods, resolve

BASE = {"method": "lite", "model": {"name": "lpn_18"}}


def parse(content: dict) -> Config:
    return parse_config(content, Config, "here")


def test_defaults_fill_the_rest_and_round_trip() -> None:
    config = parse(BASE)
    assert config.heatmap_size == (48, 64)
    assert parse(yaml.safe_load(dump_config(config))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"epoch": 3}}, r"unknown key 'train.epoch'; did you mean 'train.epochs'"),
        ({"trian": {}}, "unknown key 'trian'"),
        ({"epochs": 3}, "did you mean 'train.epochs'"),
        ({"train": {"epochs": "many"}}, "'train.epochs' is 'many'"),
        ({"train": {"lr": -1}}, "'train.lr' is -1"),
        ({"heatmap": {"decode": "guess"}}, "'heatmap.decode' is 'guess'"),
        ({"model": {}}, "'model.name' is required"),
        ({"model": {"name": "x", "input_size": [190, 256]}}, "must be divisible by heatmap.stride"),
        ({"model": {"name": "x", "input_size": [192]}}, "model.input_size"),
    ],
)
def test_mistakes_name_the_key(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({**BASE, **change})


def test_overrides_are_yaml_and_read_numbers() -> None:
    content = apply_overrides(BASE, ["train.lr=1e-3", "model.input_size=[96, 128]", "test.flip=false", "run.name=x"])
    config = parse(content)
    assert config.train.lr == 0.001
    assert config.model.input_size == (96, 128)
    assert not config.test.flip
    assert BASE == {"method": "lite", "model": {"name": "lpn_18"}}


@pytest.mark.parametrize("item", ["train.lr", "=3", "method.x=3", "train.lr=[1"])
def test_malformed_overrides_are_refused(item: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        apply_overrides(BASE, [item])


def test_files_and_methods(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"method": "absent", "model": {"name": "x"}}))
    with pytest.raises(ConfigError, match="pip install pose-absent"):
        load_config(file)
    file.write_text("model: {name: x}")
    with pytest.raises(ConfigError, match="'method' is missing"):
        load_config(file)
    file.write_text("- a list")
    with pytest.raises(ConfigError, match="mapping"):
        load_config(file)
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no config named"):
        load_config("never_heard_of_it")


def test_keys_are_listed_and_found() -> None:
    keys = all_keys(Config)
    assert "train.epochs" in keys
    assert "model.name" in keys
    assert nearest_key("train.epoch", Config) == "train.epochs"
    assert nearest_key("flp", Config) in {"augment.flip", "test.flip"}
    assert nearest_key("zzzz", Config) is None


def test_data_roots_are_found_below_pose_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "coco").mkdir()
    monkeypatch.setenv("POSE_DATA", str(tmp_path))
    assert find_data_root("data/coco") == tmp_path / "coco"
    assert find_data_root(str(tmp_path)) == tmp_path
    assert find_data_root("data/mpii") == tmp_path / "data/mpii"


def test_methods_resolve_lazily() -> None:
    method = Method("x", "pose_x", "a method")
    assert method.script == "pose-x"
    assert resolve(method.config) is Config
    for name in installed_methods():
        assert get_method(f"pose-{name}") is get_method(name)


PUBLISHED = {
    "GPUS": "(0,1,2,3)",
    "WORKERS": 4,
    "DATASET": {"DATASET": "coco", "ROOT": "data/coco/", "TRAIN_SET": "train2017", "TEST_SET": "val2017",
                "COLOR_RGB": True, "FLIP": True, "PROB_HALF_BODY": -1.0, "ROT_FACTOR": 45, "SCALE_FACTOR": 0.35},
    "MODEL": {"NAME": "lpn", "NUM_JOINTS": 17, "PRETRAINED": "", "IMAGE_SIZE": [192, 256], "HEATMAP_SIZE": [48, 64],
              "SIGMA": 2, "TARGET_TYPE": "gaussian", "EXTRA": {"ATTENTION": "GC", "NUM_LAYERS": 18}},
    "TRAIN": {"BATCH_SIZE_PER_GPU": 32, "OPTIMIZER": "adam", "WD": 0.0001, "LR": 0.001, "LR_STEP": [90, 120],
              "END_EPOCH": 150},
    "TEST": {"SOFT_ARGMAX": True, "POST_PROCESS": True, "USE_GT_BBOX": True, "FLIP_TEST": True,
             "COCO_BBOX_FILE": "data/coco/dets.json", "OKS_THRE": 0.9},
    "DEBUG": {"DEBUG": True},
}  # fmt: skip


def test_a_published_file_converts_and_every_key_is_accounted_for() -> None:
    converted = convert_published(PUBLISHED, "lpn18_256x192.yaml")
    config = parse(converted.config)
    assert config.model.name == "lpn_18"
    assert config.heatmap.decode == "soft_argmax"
    assert config.heatmap.quarter
    assert config.train.batch_size == 128
    assert config.train.weight_decay == 0
    assert config.train.epochs == 150
    assert config.augment.half_body == 0
    assert config.data.detections == "dets.json"
    assert config.test.oks_threshold == 0.9
    text = render_notes(converted)
    assert "512 in all" in text
    assert "never applied with Adam" in text
    assert "DEBUG.DEBUG" in text
    keys = {line.split(" →")[0] for line in converted.mapped} | {line.split(":")[0] for line in converted.meaningless}
    assert {"TRAIN.LR", "MODEL.EXTRA.NUM_LAYERS", "GPUS"} <= keys


@pytest.mark.parametrize(
    ("file", "name"), [("lpn18h.yaml", "lpn_18h"), ("lpn18.yaml", "lpn_18"), ("mine.yaml", "lpn_18h")]
)
def test_the_file_s_name_tells_what_its_content_cannot(file: str, name: str) -> None:
    assert convert_published(PUBLISHED, file).config["model"]["name"] == name


def changed(section: str, **values: object) -> dict:
    return {**PUBLISHED, section: {**PUBLISHED[section], **values}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("TRAIN", LEARNING_RATE=1), r"unknown key TRAIN\.LEARNING_RATE"),
        (changed("DATASET", DATASET="imagenet"), "imagenet"),
        (changed("MODEL", NAME="vgg"), "vgg"),
        (changed("MODEL", NUM_JOINTS=16), "NUM_JOINTS is 16"),
        (changed("MODEL", NAME="mrheat1_pose_resnet"), "pose-mrpose"),
        (changed("MODEL", NAME="pose_hrnet"), "STAGE4"),
        ({**PUBLISHED, "ASA": {"NUM_AUG": "(1,)"}}, "pose-asda"),
        (changed("MODEL", HEATMAP_SIZE=[50, 64]), "HEATMAP_SIZE"),
    ],
)
def test_what_cannot_be_converted_is_said(content: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert_published(content, "x.yaml")


def test_published_files_are_recognised() -> None:
    assert is_published(PUBLISHED)
    assert not is_published(BASE)
