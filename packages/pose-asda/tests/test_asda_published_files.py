"""Published files: baselines, the earlier method's, every key; and what needs no generator."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import pose_core
from pose_asda.config import AsdaConfig
from pose_asda.convert import CROWDPOSE_SIGMAS
from pose_asda.published_keys import GENERATOR, HOURGLASS, LAYERS, PARTS, READ, SEARCH, SWITCHES, UNREAD
from pose_asda.task import AsdaTask
from pose_core.cli import method_main
from pose_core.config import parse_config
from pose_core.errors import ConfigError, WeightsError
from pose_core.plugins import published as dispatch
from pose_core.plugins.convert.source import Converted
from pose_core.plugins.method import Method, get_method
from pose_core.plugins.networks import build_network
from pose_core.plugins.published import convert_published, override_published
from pose_core.synthetic import write_dataset
from pose_core.topdown.evaluate import evaluated_people, score
from pose_core.topdown.scoring import CropResults
from pose_testing.published import ANY_VALUE

HRNET = {
    "FINAL_CONV_KERNEL": 1,
    "PRETRAINED_LAYERS": ["conv1", "bn1", "conv2", "bn2", "layer1", "transition1", "stage2", "transition2", "stage3",
                          "transition3", "stage4"],
    **{f"STAGE{stage}": {"NUM_MODULES": modules, "NUM_BRANCHES": stage, "BLOCK": "BASIC", "NUM_BLOCKS": [4] * stage,
                         "NUM_CHANNELS": [32 * 2**branch for branch in range(stage)], "FUSE_METHOD": "SUM"}
       for stage, modules in ((2, 1), (3, 4), (4, 3))},
}  # fmt: skip
RESNET = {"FINAL_CONV_KERNEL": 1, "DECONV_WITH_BIAS": False, "NUM_DECONV_LAYERS": 3,
          "NUM_DECONV_FILTERS": [256] * 3, "NUM_DECONV_KERNELS": [4] * 3, "NUM_LAYERS": 50}  # fmt: skip
NETWORKS = {"pose_hrnet": HRNET, "pose_hrnet2": HRNET, "pose_resnet": RESNET, "pose_hourglass": RESNET}
DATASETS = {"coco": ("train2017", "val2017", 17), "crowdpose": ("train", "val", 14), "mpii": ("train", "valid", 16),
            "lspetmpii": ("train", "test", 16)}  # fmt: skip
STN = {"STN.LR": 0.001, "STN.STN_FIRST": 0}


def published(dataset: str, name: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a file's content as its repository writes it, with ``more`` values by dotted key."""
    train, val, joints = DATASETS[dataset]
    boxes = dataset in {"coco", "crowdpose"}
    content: dict[str, Any] = {
        "AUTO_RESUME": True, "CUDNN": {"BENCHMARK": True, "DETERMINISTIC": False, "ENABLED": True}, "DATA_DIR": "",
        "GPUS": "(0,1,2,3)", "OUTPUT_DIR": "output", "LOG_DIR": "log", "WORKERS": 24, "PRINT_FREQ": 100,
        "DATASET": {"DATASET": dataset, "ROOT": f"data/{dataset}/", "DATA_FORMAT": "jpg", "FLIP": True,
                    "COLOR_RGB": boxes, "NUM_JOINTS_HALF_BODY": 8, "PROB_HALF_BODY": 0.3 if boxes else -1.0,
                    "ROT_FACTOR": 45 if boxes else 30, "SCALE_FACTOR": 0.35 if boxes else 0.25,
                    "TRAIN_SET": train, "TEST_SET": val},
        "MODEL": {"NAME": name, "INIT_WEIGHTS": True, "NUM_JOINTS": joints, "SIGMA": 2, "TARGET_TYPE": "gaussian",
                  "PRETRAINED": "models/pytorch/imagenet/weights.pth",
                  "IMAGE_SIZE": [192, 256] if boxes else [256, 256],
                  "HEATMAP_SIZE": [48, 64] if boxes else [64, 64], "EXTRA": deepcopy(NETWORKS[name])},
        "LOSS": {"USE_TARGET_WEIGHT": True},
        "TRAIN": {"BATCH_SIZE_PER_GPU": 32, "SHUFFLE": True, "BEGIN_EPOCH": 0, "END_EPOCH": 210, "OPTIMIZER": "adam",
                  "LR": 0.001, "LR_FACTOR": 0.1, "LR_STEP": [170, 200], "WD": 0.0001, "GAMMA1": 0.99, "GAMMA2": 0.0,
                  "MOMENTUM": 0.9, "NESTEROV": False},
        "TEST": {"BATCH_SIZE_PER_GPU": 32, "COCO_BBOX_FILE": "data/coco/boxes.json", "BBOX_THRE": 1.0,
                 "IMAGE_THRE": 0.0, "IN_VIS_THRE": 0.2, "MODEL_FILE": "", "NMS_THRE": 1.0, "OKS_THRE": 0.9,
                 "USE_GT_BBOX": True, "FLIP_TEST": True, "POST_PROCESS": True, "SHIFT_HEATMAP": True},
        "DEBUG": {"DEBUG": True, "SAVE_BATCH_IMAGES_GT": True},
    }  # fmt: skip
    for key, value in (more or {}).items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return content


def convert(content: dict[str, Any]) -> Converted:
    """Convert as `pose-asda --cfg` does."""
    return convert_published(content, "file.yaml", "asda")


def resolve(content: dict[str, Any]) -> AsdaConfig:
    return parse_config(convert(content).config, AsdaConfig, "file.yaml")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_baselines(dataset: str, name: str) -> None:
    converted = convert(published(dataset, name))
    config = parse_config(converted.config, AsdaConfig, "file.yaml")
    assert (config.method, config.generator.placement) == ("asda", "none")
    assert config.model.name == {"pose_resnet": "simplebaseline_resnet50", "pose_hourglass": "asda_hourglass_2"}.get(
        name, "hrnet_w32"
    )
    boxes = dataset in {"coco", "crowdpose"}
    assert config.augment.half_body == (0.3 if boxes else 0.0)
    assert (config.augment.half_body_min, config.augment.half_body_joints) == (3, 8)
    assert (config.augment.rotation_probability, config.augment.flip) == (0.6, 0.5)
    assert (config.heatmap.target, config.heatmap.convention, config.heatmap.decode) == (
        "quantized",
        "published",
        "argmax",
    )
    assert config.heatmap.quarter
    assert config.test.shift_heatmap
    assert config.data.color == ("rgb" if boxes else "bgr")
    assert config.data.pixels == "imagenet"
    assert config.test.oks_sigmas == (CROWDPOSE_SIGMAS if dataset == "crowdpose" else None)
    assert config.data.layout == {"lspetmpii": "lsp_mpii"}.get(dataset, dataset)
    assert config.data.root == ("data/lsp_mpii" if dataset == "lspetmpii" else f"data/{dataset}")
    assert (config.train.batch_size, config.train.weight_decay, config.train.sync_bn) == (128, 0.0, False)
    assert (config.train.epochs, config.train.milestones) == (210, (170, 200))
    if name == "pose_hourglass":
        assert (config.model.pretrained, config.model.init) == (None, "framework")
    else:
        assert (config.model.pretrained, config.model.init) == ("models/pytorch/imagenet/weights.pth", "published")
    assert any("add STN.LR=0.01" in note for note in converted.notes)
    assert sum(note.startswith("batch: 32 per GPU on 4 GPUs is 128,") for note in converted.notes) == 1


def test_a_baseline_is_taken_by_the_command_and_where_no_other_method_takes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = published("mpii", "pose_hrnet")
    file = tmp_path / "w32.yaml"
    file.write_text(yaml.safe_dump(content))
    assert method_main("asda", ["show-config", "--cfg", str(file)]) == 0
    shown = capsys.readouterr()
    assert yaml.safe_load(shown.out)["method"] == "asda"
    assert "no parts are pasted" in shown.err
    assert pose_core.load_config(file, method="asda").method == "asda"

    class Other(Method):
        """A method of another repository, which takes every plain file."""

        name = "other"
        published_names = ("pose_hrnet",)

        def convert(self, source: object) -> Converted:
            return Converted({"method": "other"})

    only = {"asda": get_method("asda")}
    monkeypatch.setattr(dispatch, "installed_methods", lambda: only)
    assert convert_published(content, "w32.yaml").config["method"] == "asda"
    with pytest.raises(ConfigError, match=r"keys are of a repository that none of the installed methods \(asda\)"):
        convert_published(published("mpii", "pose_hrnet", {"TEST.SOFT_ARGMAX": True}), "w32.yaml")
    monkeypatch.setattr(dispatch, "installed_methods", lambda: only | {"other": Other()})
    assert convert_published(content, "w32.yaml").config["method"] == "other"
    assert convert_published(content, "w32.yaml", "asda").config["method"] == "asda"
    assert convert_published(published("mpii", "pose_hrnet", STN), "w32.yaml").config["method"] == "asda"
    foreign = published("mpii", "pose_hrnet", {"TEST.SOFT_ARGMAX": True})
    assert convert_published(foreign, "w32.yaml", "asda").config["method"] == "other"


EARLIER = {"ASA.INTERVAL": 5, "ASA.LR": 0.05, "ASA.NUM_MODELS": 4, "ASA.THETA_GRAD": True, "ASA.USE_SA": True,
           "ASA.LOAD_THETA": False, "ASA.THETA_PATH": "theta.pth", "ASA.BETA1": 0.5, "ASA.BETA2": 0.999}  # fmt: skip


@pytest.mark.parametrize("key", EARLIER)
@pytest.mark.parametrize("name", ["pose_hrnet", "pose_resnet", "pose_hourglass"])
def test_a_search_for_placements_is_refused(name: str, key: str) -> None:
    for more in ({key: EARLIER[key]}, EARLIER, {key: EARLIER[key], "ASA.NUM_AUG": "(1,)"}):
        with pytest.raises(ConfigError, match=rf"{key}.* belong to an earlier method, which searched for placements"):
            convert(published("mpii", name, more))


@pytest.mark.parametrize("key", ["", *EARLIER])
def test_without_semantic_augmentation_there_are_no_parts(key: str) -> None:
    more = {"ASA.USE_SA": False} | ({key: EARLIER[key]} if key not in {"", "ASA.USE_SA"} else {})
    for extra in ({}, {"ASA.NUM_MODELS": 4}, {"ASA.THETA_GRAD": False, "ASA.LOAD_THETA": True}):
        converted = convert(published("mpii", "pose_hrnet", more | extra))
        assert converted.config["generator"] == {"placement": "none"}
        assert "parts" not in converted.config
        assert any("ASA.USE_SA is false: no parts" in note for note in converted.notes)


@pytest.mark.parametrize("key", ["", "ASA.INTERVAL", "ASA.LR", "ASA.NUM_MODELS", "ASA.THETA_PATH", "ASA.USE_SA"])
def test_frozen_probabilities_place_parts_at_random(key: str) -> None:
    more = {"ASA.THETA_GRAD": False} | ({key: EARLIER[key]} if key else {})
    converted = convert(published("mpii", "pose_hrnet", more))
    config = parse_config(converted.config, AsdaConfig, "file.yaml")
    assert (config.generator.placement, config.generator.pretrained) == ("random", None)
    assert (config.parts.counts, config.parts.erode, config.parts.blur) == ((0, 2, 4, 6, 8), (13, 13), (15, 15))
    assert any("generator.placement=random" in note for note in converted.notes)
    with pytest.raises(ConfigError, match=r"ASA\.LOAD_THETA: probabilities .* are not supported"):
        convert(published("mpii", "pose_hrnet", more | {"ASA.LOAD_THETA": True}))


def test_the_earlier_methods_switches_and_a_generator_exclude_each_other() -> None:
    """The published code with a generator never reads them: a file that has both may mean either."""
    plain = resolve(published("mpii", "pose_hrnet", STN))
    assert plain.generator.placement == "adversarial"
    assert resolve(published("mpii", "pose_hrnet", STN | EARLIER)) == plain
    for key, usual in SWITCHES.items():
        with pytest.raises(
            ConfigError, match=rf"{key} is {not usual}.*remove STN, or remove {key} \(or add {key}={usual}"
        ):
            convert(published("mpii", "pose_hrnet", STN | {key: not usual}))


def test_what_the_messages_suggest_works() -> None:
    search = published("mpii", "pose_hrnet", EARLIER)
    for override, placement in (
        ("STN.LR=0.01", "adversarial"), ("ASA.THETA_GRAD=False", "random"), ("ASA.USE_SA=False", "none"),
    ):  # fmt: skip
        content, rest = override_published(search, [override])
        assert (rest, resolve(content).generator.placement) == ([], placement)
    content, _ = override_published(published("mpii", "pose_hrnet", {"ASA.USE_SA": False}), ["STN.LR=0.01"])
    content, _ = override_published(content, ["ASA.USE_SA=True"])
    assert resolve(content).generator.placement == "adversarial"


def test_a_file_with_parts_reproduces_the_published_faults() -> None:
    for name, depth in (("pose_hrnet", 50), ("pose_hrnet2", 18), ("pose_resnet", 18), ("pose_hourglass", 18)):
        for more in (STN, {"STN.LR": 0.001, "ASA.NUM_AUG": "(1,)"}, {"ASA.NUM_AUG": "(1,)"}):
            converted = convert(published("coco", name, more))
            config = parse_config(converted.config, AsdaConfig, "file.yaml")
            assert (config.generator.placement, config.generator.depth) == ("adversarial", depth)
            assert config.generator.lr == more.get("STN.LR", 0.01)
            assert config.parts.compat
            assert config.parts.min_joints == 8
            assert config.generator.align_corners
    assert resolve(published("mpii", "pose_hourglass", STN)).parts.min_joints == 0


def test_networks_that_are_not_supported() -> None:
    for more in ({}, STN):
        content = published("mpii", "pose_hrnet", more)
        content["MODEL"]["NAME"] = "globalnet_GAT_nonlocalv5_paralv3"
        with pytest.raises(ConfigError, match=r"globalnet_GAT_nonlocalv5_paralv3.*pose_hourglass"):
            convert(content)


# For each key that the published code reads: the file it is read in, and another value.
COCO, MPII, BY_SGD = {}, {}, {"TRAIN.OPTIMIZER": "sgd"}
CHANGES: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "DATA_DIR": ("coco", "pose_hrnet", {}, "/data"),
    "GPUS": ("coco", "pose_hrnet", {}, "(0,)"),
    "WORKERS": ("coco", "pose_hrnet", {}, 3),
    "PRINT_FREQ": ("coco", "pose_hrnet", {}, 7),
    "MODEL.NAME": ("coco", "pose_hrnet", STN, "pose_hrnet2"),
    "MODEL.INIT_WEIGHTS": ("coco", "pose_hrnet", {}, False),
    "MODEL.PRETRAINED": ("coco", "pose_resnet", {}, "other.pth"),
    "MODEL.NUM_JOINTS": ("coco", "pose_hrnet", {}, 16),
    "MODEL.TARGET_TYPE": ("coco", "pose_hrnet", {}, "offset"),
    "MODEL.IMAGE_SIZE": ("coco", "pose_hrnet", {}, [96, 128]),
    "MODEL.HEATMAP_SIZE": ("coco", "pose_hrnet", {}, [96, 128]),
    "MODEL.SIGMA": ("coco", "pose_hrnet", {}, 3),
    "MODEL.FINETUNE": ("coco", "pose_hrnet", {}, True),
    "MODEL.HTM_MODEL_PATH": ("coco", "pose_hrnet", {"MODEL.FINETUNE": True, "MODEL.HTM_MODEL_PATH": "a.pth"}, "b.pth"),
    "LOSS.USE_TARGET_WEIGHT": ("coco", "pose_hrnet", {}, False),
    "LOSS.USE_DIFFERENT_JOINTS_WEIGHT": ("coco", "pose_hrnet", {}, True),
    "DATASET.ROOT": ("mpii", "pose_hrnet", {}, "elsewhere"),
    "DATASET.DATASET": ("mpii", "pose_hrnet", {}, "lspetmpii"),
    "DATASET.TRAIN_SET": ("mpii", "pose_hrnet", {}, "trainval"),
    "DATASET.TEST_SET": ("mpii", "pose_hrnet", {}, "test"),
    "DATASET.SELECT_DATA": ("mpii", "pose_hrnet", {}, True),
    "DATASET.FLIP": ("mpii", "pose_hrnet", {}, False),
    "DATASET.SCALE_FACTOR": ("mpii", "pose_hrnet", {}, 0.1),
    "DATASET.ROT_FACTOR": ("mpii", "pose_hrnet", {}, 10),
    "DATASET.PROB_HALF_BODY": ("mpii", "pose_hrnet", {}, 0.5),
    "DATASET.NUM_JOINTS_HALF_BODY": ("coco", "pose_hrnet", {}, 6),
    "DATASET.COLOR_RGB": ("mpii", "pose_hrnet", {}, True),
    "TRAIN.LR_FACTOR": ("mpii", "pose_hrnet", {}, 0.5),
    "TRAIN.LR_STEP": ("mpii", "pose_hrnet", {}, [5]),
    "TRAIN.LR": ("mpii", "pose_hrnet", {}, 0.1),
    "TRAIN.OPTIMIZER": ("mpii", "pose_hrnet", {}, "sgd"),
    "TRAIN.MOMENTUM": ("mpii", "pose_hrnet", BY_SGD, 0.5),
    "TRAIN.WD": ("mpii", "pose_hrnet", BY_SGD, 0.1),
    "TRAIN.NESTEROV": ("mpii", "pose_hrnet", BY_SGD, True),
    "TRAIN.BEGIN_EPOCH": ("mpii", "pose_hrnet", {}, 10),
    "TRAIN.END_EPOCH": ("mpii", "pose_hrnet", {}, 100),
    "TRAIN.BATCH_SIZE_PER_GPU": ("mpii", "pose_hrnet", {}, 16),
    "TRAIN.SHUFFLE": ("mpii", "pose_hrnet", {}, False),
    "TEST.BATCH_SIZE_PER_GPU": ("mpii", "pose_hrnet", {}, 16),
    "TEST.FLIP_TEST": ("mpii", "pose_hrnet", {}, False),
    "TEST.POST_PROCESS": ("mpii", "pose_hrnet", {}, False),
    "TEST.SHIFT_HEATMAP": ("mpii", "pose_hrnet", {}, False),
    "TEST.COCO_BBOX_FILE": ("coco", "pose_hrnet", {}, "data/coco/others.json"),
    "TEST.USE_GT_BBOX": ("coco", "pose_hrnet", {}, False),
    "TEST.IMAGE_THRE": ("coco", "pose_hrnet", {}, 0.5),
    "TEST.OKS_THRE": ("crowdpose", "pose_hrnet", {}, 0.5),
    "TEST.SOFT_NMS": ("coco", "pose_hrnet", {}, True),
    "TEST.IN_VIS_THRE": ("crowdpose", "pose_hrnet", {}, 0.5),
    "ASA.NUM_AUG": ("mpii", "pose_hrnet", STN, "(3,)"),
    "ASA.SCALE_RANGE": ("mpii", "pose_hrnet", STN, "(0.5, 2.0)"),
    "ASA.PART_ANN_FILE": ("mpii", "pose_hrnet", STN, "./lip/other/part_anns.json"),
    "ASA.PART_ROOT_DIR": ("mpii", "pose_hrnet", STN, "./lip/other/"),
    "ASA.ERODE_KERNEL": ("mpii", "pose_hrnet", STN, "(3, 3)"),
    "ASA.GAUSSIAN_KERNEL": ("mpii", "pose_hrnet", STN, "(3, 3)"),
    "ASA.BOTH_HF_SA": ("mpii", "pose_hrnet", STN, False),
    "ASA.USE_SA": ("mpii", "pose_hrnet", {"ASA.THETA_GRAD": False}, False),
    "ASA.THETA_GRAD": ("mpii", "pose_hrnet", {"ASA.THETA_GRAD": False}, True),
    "ASA.LOAD_THETA": ("mpii", "pose_hrnet", {"ASA.THETA_GRAD": False}, True),
    "STN.LR": ("mpii", "pose_hrnet", STN, 0.5),
    "STN.STN_FIRST": ("mpii", "pose_hrnet", STN, 1),
    "STN.NG": ("mpii", "pose_hrnet", STN, 2),
    "STN.ND": ("mpii", "pose_hrnet", STN, 2),
    "MODEL.NET.NSTACKS": ("mpii", "pose_hourglass", {}, 8),
    "MODEL.NET.NMODULES": ("mpii", "pose_hourglass", {}, 2),
    "MODEL.NET.NCHANNELS": ("mpii", "pose_hourglass", {}, 128),
    "MODEL.NET.NREDUCTIONS": ("mpii", "pose_hourglass", {}, 3),
}
LAYER_VALUES = {"PRETRAINED_LAYERS": ["conv1"], "FINAL_CONV_KERNEL": 3, "DECONV_WITH_BIAS": True,
                "NUM_DECONV_LAYERS": 2, "NUM_LAYERS": 101}  # fmt: skip
LAYER_CHANGES = {
    f"MODEL.EXTRA.{key}": ("mpii", name, {}, LAYER_VALUES.get(key, [7, 7]))
    for name in ("pose_hrnet", "pose_resnet")
    for key in LAYERS[name]
}


def outcome(content: dict[str, Any]) -> object:
    """Return the experiment of a file, or the message of its refusal."""
    try:
        return resolve(content)
    except ConfigError as error:
        return str(error)


def test_every_read_key_is_tried() -> None:
    assert set(CHANGES) == set(READ)
    assert {"ASA.USE_SA", *PARTS, *GENERATOR, *(f"MODEL.NET.{key}" for key in HOURGLASS)} <= set(READ)
    assert not set(READ) & {*UNREAD, *SEARCH}


@pytest.mark.parametrize("key", [*CHANGES, *LAYER_CHANGES])
def test_a_read_key_changes_the_experiment_or_is_refused(key: str) -> None:
    dataset, name, more, other = (CHANGES | LAYER_CHANGES)[key]
    usual = resolve(published(dataset, name, more))
    changed = outcome(published(dataset, name, more | {key: other}))
    assert changed != usual
    assert not isinstance(changed, str) or key.removeprefix("MODEL.EXTRA.") in changed


OLD = ("MODEL.EXTRA.HEATMAP_SIZE", "MODEL.EXTRA.SIGMA", "MODEL.EXTRA.TARGET_TYPE")


@pytest.mark.parametrize("more", [{}, STN], ids=["baseline", "parts"])
@pytest.mark.parametrize("key", [*UNREAD, *OLD, "MODEL.EXTRA.ANY", "GCN.ANY", "NON_LOCAL.ANY", "FUSE.ANY"])
def test_an_unread_key_changes_nothing(key: str, more: dict[str, Any]) -> None:
    name = "pose_hrnet2" if key in OLD else "pose_hrnet"  # such keys are of another repository's pose_hrnet
    usual = resolve(published("coco", name, more))
    for value in ANY_VALUE:
        assert resolve(published("coco", name, more | {key: value})) == usual


@pytest.mark.parametrize(
    ("dataset", "name", "more", "keys"),
    [
        ("mpii", "pose_hrnet", STN, SEARCH),
        ("mpii", "pose_hrnet", {"ASA.THETA_GRAD": False}, SEARCH),
        ("mpii", "pose_hrnet", {"ASA.USE_SA": False}, (*SEARCH, *PARTS)),
        ("mpii", "pose_hrnet", {}, ("TEST.USE_GT_BBOX", "TEST.OKS_THRE", "TEST.IMAGE_THRE", "MODEL.NET.NSTACKS")),
        ("mpii", "pose_hrnet", {}, ("MODEL.HTM_MODEL_PATH",)),
        ("mpii", "pose_hrnet", {"MODEL.INIT_WEIGHTS": False}, ("MODEL.PRETRAINED", "MODEL.FINETUNE")),
        ("mpii", "pose_resnet", {}, ("MODEL.FINETUNE", "MODEL.HTM_MODEL_PATH", "MODEL.EXTRA.STAGE2.NUM_MODULES")),
        ("mpii", "pose_hourglass", {}, ("MODEL.PRETRAINED", "MODEL.INIT_WEIGHTS", "MODEL.EXTRA.NUM_LAYERS")),
        ("lspetmpii", "pose_hrnet", {}, ("DATASET.ROOT",)),
    ],
)
def test_a_key_that_its_file_does_not_use_changes_nothing(
    dataset: str, name: str, more: dict[str, Any], keys: tuple[str, ...]
) -> None:
    usual = resolve(published(dataset, name, more))
    for key in keys:
        for value in ANY_VALUE:
            changed = convert(published(dataset, name, more | {key: value}))
            assert parse_config(changed.config, AsdaConfig, "file.yaml") == usual, (key, value)
            assert any(line.startswith(key) for line in changed.meaningless) or value == {}


def test_a_mistyped_layer_is_refused() -> None:
    content = published("mpii", "pose_resnet", {"MODEL.EXTRA.NUM_LAYER": 101})
    assert resolve(content).model.name == "simplebaseline_resnet50"  # nothing is missing: any other key may be there
    del content["MODEL"]["EXTRA"]["NUM_LAYERS"]
    with pytest.raises(
        ConfigError, match=r"unknown key MODEL\.EXTRA\.NUM_LAYER; did you mean MODEL\.EXTRA\.NUM_LAYERS"
    ):
        convert(content)


def test_paths_and_initial_weights() -> None:
    config = resolve(published("coco", "pose_hrnet", {"DATA_DIR": "/d", "DATASET.ROOT": "coco"}))
    assert (config.data.root, config.model.pretrained) == ("/d/coco", "/d/models/pytorch/imagenet/weights.pth")
    assert resolve(published("coco", "pose_hrnet", {"DATA_DIR": "/d", "DATASET.ROOT": "/e"})).data.root == "/e"
    plain = resolve(published("coco", "pose_hrnet", {"MODEL.INIT_WEIGHTS": False}))
    assert (plain.model.init, plain.model.pretrained) == ("framework", None)
    tuned = resolve(published("coco", "pose_hrnet2", {"MODEL.FINETUNE": True, "MODEL.HTM_MODEL_PATH": "best.pth"}))
    assert tuned.model.pretrained == "best.pth"
    with pytest.raises(ConfigError, match=r"MODEL\.HTM_MODEL_PATH names no file"):
        convert(published("coco", "pose_hrnet", {"MODEL.FINETUNE": True}))
    with pytest.raises(ConfigError, match=r"unknown key MODEL\.NET\.STACKS; MODEL\.NET has NSTACKS"):
        convert(published("mpii", "pose_hourglass", {"MODEL.NET.STACKS": 2}))


@pytest.fixture
def small(people: Path, pool: Path, tmp_path: Path) -> Path:
    """Write a published file of an hourglass that takes seconds, whose generator has no file of weights."""
    content = published("mpii", "pose_hourglass", STN)
    content["MODEL"] |= {"NET": {"NCHANNELS": 16, "NREDUCTIONS": 2}, "IMAGE_SIZE": [64, 64], "HEATMAP_SIZE": [16, 16]}
    content["DATASET"]["ROOT"] = str(people)
    content["ASA"] = {"PART_ANN_FILE": str(pool / "part_anns.json"), "PART_ROOT_DIR": str(pool), "NUM_AUG": [1]}
    content |= {"GPUS": "(0,)", "WORKERS": 0}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_only_training_needs_the_generators_weights(
    small: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = pose_core.load_config(small)
    network = pose_core.create_model("asda_hourglass_2", 16, **config.model.options)
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, weights)
    missing = "parts.annotations=no/part_anns.json"
    given = ["--cfg", str(small), "--weights", str(weights), "test.workers=0", "run.device=cpu", missing]
    assert method_main("asda", ["eval", *given]) == 0
    table = capsys.readouterr().out
    assert "PCKh" in table
    spelled = ["eval", "--cfg", str(small), "TEST.MODEL_FILE", str(weights), "WORKERS", "0"]
    assert method_main("asda", spelled) == 0
    assert capsys.readouterr().out == table
    assert method_main("asda", ["vote", *given]) == 0
    predictor = pose_core.Predictor.from_config(config, weights, "cpu")
    photo = next((people / "images").glob("*.jpg"))
    assert len(predictor(str(photo), detector="whole")) == 1
    with pytest.raises(WeightsError, match=r"generator\.pretrained is models/pytorch/imagenet/resnet18-5c106cde\.pth"):
        AsdaTask(config, build_network).networks()  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_published_file_trains(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["generator.pretrained=null", "train.epochs=1", "train.batch_size=4", "run.device=cpu"]
    assert method_main("asda", ["train", "--cfg", str(small), *settings]) == 0
    values = json.loads((tmp_path / "runs" / "small" / "metrics.jsonl").read_text().splitlines()[0])
    assert values["generator_loss"] < 0 < values["loss"]


def test_people_of_mpii_without_a_joint_are_not_trained(people: Path, tmp_path: Path) -> None:
    """As in the published reader; a split that is evaluated keeps them, to keep the rows of the ground truth."""
    shutil.copytree(people, tmp_path / "mpii")
    counts = {}
    for split in ("train", "valid"):
        file = tmp_path / "mpii" / "annot" / f"{split}.json"
        rows = json.loads(file.read_text())
        rows[0]["joints_vis"] = [0] * 16
        file.write_text(json.dumps(rows))
        counts[split] = len(rows)
    config = resolve(published("mpii", "pose_hourglass", {"DATASET.ROOT": str(tmp_path / "mpii")}))
    assert len(AsdaTask(config, build_network).training_set()) == counts["train"] - 1
    records = evaluated_people(config)[1]
    assert sum(len(record.persons) for record in records) == counts["valid"]


def test_crowdpose_suppresses_by_the_published_sigmas(tmp_path: Path) -> None:
    """Two poses that differ in the head alone are similar by the evaluator's sigmas, and different by these."""
    write_dataset(tmp_path, "crowdpose", 1, (1, 1), 0, val_images=1)
    config = resolve(published("crowdpose", "pose_hrnet", {"DATASET.ROOT": str(tmp_path)}))
    found = evaluated_people(config)[0]
    person = found.records[0].persons[0]
    poses = np.ones((2, 14, 3), np.float32)
    poses[:, :, :2] = person.joints[:, :2]
    poses[1, 12:, 0] += 0.15 * np.sqrt(200 * 200)
    points = CropResults(
        poses, np.zeros((2, 2)), np.ones((2, 2)), np.ones(2), np.full(2, found.records[0].image_id), np.arange(2)
    )
    kept = {}
    for sigmas in (None, config.test.oks_sigmas):
        settings = config.model_copy(update={"test": config.test.model_copy(update={"oks_sigmas": sigmas})})
        score(points, found, settings, tmp_path / "results", write=True)
        kept[sigmas] = len(json.loads(next((tmp_path / "results").iterdir()).read_text()))
    assert kept == {None: 1, CROWDPOSE_SIGMAS: 2}
    with pytest.raises(ConfigError, match=r"test\.oks_sigmas has 1 number, but skeleton crowdpose14 has 14 joints"):
        pose_core.load_config(
            "pose-asda/coco_hrnet_w32_256x192_stn", ["data.skeleton=crowdpose14", "test.oks_sigmas=[1]"]
        )
