"""The built-in experiments: complete, valid, and equal to the published files."""

from __future__ import annotations

import pytest
import yaml

from pose_core.config import Config, all_keys, dump_config, load_config, parse_config
from pose_core.method import get_method
from pose_core.models.catalog import list_models

CONFIGS = get_method("lite").config_files()
SCHEDULES = {"hrnet": (210, (170, 200)), "lpn": (150, (90, 120)), "resnet": (140, (90, 120))}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_valid_and_round_trips(name: str) -> None:
    config = load_config(f"pose-lite/{name}")
    assert config.name == name
    assert config.method == "lite"
    assert config.model.name in list_models()
    assert config.note
    assert parse_config(yaml.safe_load(dump_config(config)), Config, name) == config


@pytest.mark.parametrize("name", [name for name in CONFIGS if not name.startswith("synthetic")])
def test_published_settings(name: str) -> None:
    config = load_config(f"pose-lite/{name}")
    family = next(key for key in SCHEDULES if key in name)
    epochs, milestones = SCHEDULES[family]
    assert (config.train.epochs, config.train.milestones) == (epochs, milestones)
    assert config.train.optimizer == "adam"
    assert config.train.weight_decay == 0
    assert config.data.color == ("bgr" if family == "resnet" else "rgb")
    height, width = map(int, name.rsplit("_", 1)[1].split("x"))
    assert config.model.input_size == (width, height)
    assert config.heatmap.sigma == (3 if height == 384 else 2)
    assert config.heatmap.decode == ("soft_argmax" if family == "lpn" or "softargmax" in name else "argmax")
    assert config.data.skeleton == ("mpii16" if name.startswith("mpii") else "coco17")
    assert config.test.flip
    assert config.test.shift_heatmap
    if family == "lpn" or config.data.layout == "coco":
        assert config.test.oks_threshold == 0.9
    assert (config.model.pretrained is None) == (family == "lpn")


def test_a_config_states_what_a_reader_would_ask_for() -> None:
    stated = yaml.safe_load(CONFIGS["coco_lpn50_256x192"].read_text())
    for block in ("data", "augment", "model", "heatmap", "train", "test"):
        assert len(stated[block]) >= 3, block
    assert set(stated) <= {key.split(".")[0] for key in all_keys(Config)}


def test_all_published_experiments_are_there() -> None:
    assert len([name for name in CONFIGS if name.startswith("coco_lpn")]) == 8
    assert len([name for name in CONFIGS if name.startswith("coco_hrnet")]) == 7
    assert len([name for name in CONFIGS if name.startswith("coco_resnet")]) == 6
    assert len([name for name in CONFIGS if name.startswith("mpii")]) == 5
