"""The built-in experiments: complete, valid, and equal to the published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_core.cli import method_main
from pose_core.config import parse_config
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method, installed_methods
from pose_core.plugins.networks import list_models
from pose_core.plugins.published import convert_published
from pose_core.topdown.config import TopDownConfig
from pose_testing.experiments import check_show_config, differences, page_faults, read_record

CONFIGS = get_method("mrpose").experiments()
RECORD = read_record(Path(__file__).parent)
IMAGENET = {50: "resnet50-19c8e357.pth", 101: "resnet101-5d3b4d8f.pth", 152: "resnet152-b121ed2d.pth"}
DESIGNS = {"mrheat1": "mrheat1_pose_resnet", "mrheat2": "mrheat2_pose_resnet", "mrfea1": "mrfea1_pose_resnet",
           "mrfea2": "mrfea2_pose_resnet", "baseline": "pose_resnet"}  # fmt: skip
SIZES = {"256x192": (192, 256), "384x288": (288, 384), "256x256": (256, 256), "384x384": (384, 384)}


def published_file(layout: str, design: str, depth: int, style: str, size: str) -> dict[str, Any]:
    """Return the content of a published file, in its own keys."""
    width, height = SIZES[size]
    coco, large = layout == "coco", height == 384
    test: dict[str, Any] = {"BATCH_SIZE": 32, "FLIP_TEST": False, "MODEL_FILE": ""}
    if coco:
        boxes = "data/coco/person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
        test |= {"COCO_BBOX_FILE": boxes, "BBOX_THRE": 1.0, "IMAGE_THRE": 0.0, "IN_VIS_THRE": 0.2, "NMS_THRE": 1.0,
                 "OKS_THRE": 0.9, "USE_GT_BBOX": True}  # fmt: skip
    weights = IMAGENET[depth] if style == "pytorch" else f"resnet{depth}-caffe.pth.tar"
    small_batch = 24 if not coco and depth == 152 else 32
    return {
        "GPUS": "0", "DATA_DIR": "", "OUTPUT_DIR": "output", "LOG_DIR": "log", "WORKERS": 4, "PRINT_FREQ": 100,
        "DATASET": {"DATASET": layout, "ROOT": f"data/{layout}/", "FLIP": True,
                    "TEST_SET": "val2017" if coco else "valid", "TRAIN_SET": "train2017" if coco else "train",
                    "ROT_FACTOR": 40 if coco else 30, "SCALE_FACTOR": 0.3 if coco else 0.25},
        "MODEL": {"NAME": DESIGNS[design], "PRETRAINED": f"models/pytorch/imagenet/{weights}", "CHECKPOINT": "",
                  "STYLE": style, "IMAGE_SIZE": [width, height], "NUM_JOINTS": 17 if coco else 16,
                  "EXTRA": {"TARGET_TYPE": "gaussian", "HEATMAP_SIZE": [width // 4, height // 4],
                            "SIGMA": 3 if large else 2, "FINAL_CONV_KERNEL": 1, "DECONV_WITH_BIAS": False,
                            "NUM_DECONV_LAYERS": 3, "NUM_DECONV_FILTERS": [256] * 3, "NUM_DECONV_KERNELS": [4] * 3,
                            "NUM_LAYERS": depth}},
        "LOSS": {"USE_TARGET_WEIGHT": True},
        "TRAIN": {"BATCH_SIZE": small_batch if large else 64, "SHUFFLE": True, "BEGIN_EPOCH": 0,
                  "END_EPOCH": 170 if coco else 140, "RESUME": False, "OPTIMIZER": "adam", "LR": 0.001,
                  "LR_FACTOR": 0.1, "LR_STEP": [120, 150] if coco else [90, 120], "WD": 0.0001, "GAMMA1": 0.99,
                  "GAMMA2": 0.0, "MOMENTUM": 0.9, "NESTEROV": False},
        "TEST": test,
        "DEBUG": {"DEBUG": False, "SAVE_BATCH_IMAGES_GT": True},
    }  # fmt: skip


PUBLISHED = [
    (layout, design, depth, style, size)
    for layout, style, size in (
        ("coco", "pytorch", "256x192"),
        ("coco", "caffe", "256x192"),
        ("coco", "pytorch", "384x288"),
        ("mpii", "pytorch", "256x256"),
        ("mpii", "pytorch", "384x384"),
    )
    for depth in IMAGENET
    for design in DESIGNS
]


def our_name(layout: str, design: str, depth: int, style: str, size: str) -> str:
    return f"{layout}_{design}_resnet{depth}{'_caffe' if style == 'caffe' else ''}_{size}"


@pytest.mark.parametrize("name", RECORD)
def test_an_experiment_resolves_as_recorded(name: str) -> None:
    assert differences(load_config(f"pose-mrpose/{name}"), RECORD[name]) == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_show_config_prints_a_complete_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_show_config("mrpose", name, tmp_path, capsys)


def test_pages_are_kept_as_the_others_are() -> None:
    assert page_faults("mrpose") == []


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: our_name(*row))
def test_built_in_experiments_equal_the_converted_published_files(row: tuple[str, str, int, str, str]) -> None:
    name = our_name(*row)
    converted = parse_config(
        convert_published(published_file(*row), f"{name}.yaml").config, TopDownConfig, name
    ).model_dump()
    ours = load_config(f"pose-mrpose/{name}").model_dump()
    # The published scripts use a flip test, regardless of the file.
    assert (converted["test"].pop("flip"), ours["test"].pop("flip")) == (False, True)
    # A file of the baseline is one of SimpleBaseline, which pose-lite converts where it is installed.
    is_lite = row[1] == "baseline" and "lite" in installed_methods()
    assert converted.pop("method") == ("lite" if is_lite else "mrpose")
    assert ours.pop("method") == "mrpose"
    for unstated in (converted, ours):
        unstated.pop("note")
    # The published files state a number of loader processes, which suits their authors' machine.
    assert (ours["train"].pop("workers"), converted["train"].pop("workers")) == (None, 4)
    assert ours == converted


@pytest.mark.parametrize("name", CONFIGS)
def test_every_experiment_names_a_network_and_has_a_note(name: str) -> None:
    config = load_config(f"pose-mrpose/{name}")
    assert config.method == "mrpose"
    assert config.model.name in list_models()
    assert config.data.color == "bgr"
    assert config.note


def test_there_is_an_experiment_for_every_published_file_and_variant() -> None:
    assert set(CONFIGS) == {our_name(*row) for row in PUBLISHED} | {"synthetic_coco", "synthetic_mpii"}


def test_a_published_file_works_as_it_is_and_its_network_can_be_switched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "256x192_d256x3_adam_lr1e-3_caffe.yaml"
    file.write_text(yaml.safe_dump(published_file("coco", "mrheat1", 101, "caffe", "256x192")))
    for words, network in (
        ([], "mrheat1_resnet101_caffe"),
        (["MODEL.NAME=mrfea2_pose_resnet"], "mrfea2_resnet101_caffe"),
        (["model.name=mrfea1_resnet101_caffe"], "mrfea1_resnet101_caffe"),
    ):
        assert method_main("mrpose", ["show-config", "--cfg", str(file), *words]) == 0
        out, notes = capsys.readouterr()
        config = yaml.safe_load(out)
        assert config["method"] == "mrpose"
        assert config["model"]["name"] == network
        assert "TRAIN.GAMMA1" in notes
    assert method_main("mrpose", ["show-config", "--cfg", str(file), "MODEL.NAM=x"]) == 2
    assert "unknown key MODEL.NAM; did you mean MODEL.NAME?" in capsys.readouterr().err
    assert method_main("mrpose", ["show-config", "--cfg", str(file), "MODEL.NAME=mrheat3_pose_resnet"]) == 2
    assert "did you mean mrheat" in capsys.readouterr().err
