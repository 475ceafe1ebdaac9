"""The built-in experiments: complete, valid, and equal to the published files; errors in published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pose_asda
from pose_asda.config import AsdaConfig, PartsConfig
from pose_asda.published_keys import HOURGLASS_WEIGHTS
from pose_core.config import dump_config, parse_config
from pose_core.errors import ConfigError
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import list_models
from pose_core.plugins.published import convert_published
from pose_testing.experiments import check_show_config, differences, page_faults, read_record

CONFIGS = get_method("asda").experiments()
RECORD = read_record(Path(__file__).parent)
JPEG, BMP = "./lip/parts_filter_done", "./lip/parts_bmp_filter_done"


def table(width: int) -> dict[str, Any]:
    stages = {
        f"STAGE{stage}": {
            "NUM_MODULES": modules, "NUM_BRANCHES": stage, "BLOCK": "BASIC", "NUM_BLOCKS": [4] * stage,
            "NUM_CHANNELS": [width * 2**branch for branch in range(stage)], "FUSE_METHOD": "SUM",
        }
        for stage, modules in ((2, 1), (3, 4), (4, 3))
    }  # fmt: skip
    return {"FINAL_CONV_KERNEL": 1, **stages}


def published_file(name: str) -> dict[str, Any]:
    """Return the content of a published file, in its own keys."""
    coco = name.startswith("coco")
    one = "numpart1" in name
    parts: dict[str, Any] = {}
    if one:
        parts = {"NUM_AUG": "(1,)", "PART_ANN_FILE": f"{BMP}/part_anns.json", "PART_ROOT_DIR": f"{BMP}/",
                 "ERODE_KERNEL": "(3, 3)", "GAUSSIAN_KERNEL": "(3, 3)"}  # fmt: skip
        if coco:
            parts["BOTH_HF_SA"] = False
    elif "numpart4" in name:
        parts = {"NUM_AUG": "(4,)"}
    width = 48 if "w48" in name else 32
    published = "pose_hrnet" if "w48" in name else "pose_hrnet2" if coco else "pose_hourglass"
    weights = {32: "hrnet_w32-36af842e.pth", 48: "hrnet_w48-8ef0771d.pth"}[width] if coco else "resnet50-19c8e357.pth"
    steps = [180, 270] if coco and one else [140, 250]
    boxes = "minival_2014_det.json" if "w32" in name and one else "COCO_val2017_detections_AP_H_56_person.json"
    batch = 96 if coco else 32
    return {
        "GPUS": "(0,1,2,3)", "WORKERS": 24, "PRINT_FREQ": 100, "AUTO_RESUME": True,
        "DATASET": {"DATASET": "coco" if coco else "mpii", "ROOT": "data/coco/" if coco else "data/mpii/",
                    "COLOR_RGB": coco, "FLIP": True, "NUM_JOINTS_HALF_BODY": 8, "PROB_HALF_BODY": 0.3 if coco else -1.0,
                    "ROT_FACTOR": 45 if coco else 30, "SCALE_FACTOR": 0.35 if coco else 0.25,
                    "TEST_SET": "val2017" if coco else "valid", "TRAIN_SET": "train2017" if coco else "train"},
        "ASA": parts, "STN": {"LR": 0.001, "STN_FIRST": 0},
        "MODEL": {"NAME": published, "NUM_JOINTS": 17 if coco else 16, "SIGMA": 2, "TARGET_TYPE": "gaussian",
                  "PRETRAINED": f"models/pytorch/imagenet/{weights}",
                  "IMAGE_SIZE": [192, 256] if coco else [256, 256], "HEATMAP_SIZE": [48, 64] if coco else [64, 64],
                  "EXTRA": table(width) if coco else {"NUM_LAYERS": 50, "FINAL_CONV_KERNEL": 1},
                  **({} if coco else {"NET": {"NCHANNELS": 256, "NSTACKS": 8 if "stack8" in name else 2,
                                              "NMODULES": 1, "NREDUCTIONS": 4}})},
        "TRAIN": {"BATCH_SIZE_PER_GPU": batch, "BEGIN_EPOCH": 0, "END_EPOCH": 210000, "OPTIMIZER": "adam",
                  "LR": 0.003 if coco else 0.001, "LR_FACTOR": 0.1, "LR_STEP": steps, "WD": 0.0001},
        "TEST": {"BATCH_SIZE_PER_GPU": batch, "FLIP_TEST": True, "POST_PROCESS": True, "SHIFT_HEATMAP": True,
                 "USE_GT_BBOX": True, "IMAGE_THRE": 0.0, "IN_VIS_THRE": 0.2, "OKS_THRE": 0.9, "NMS_THRE": 1.0,
                 "COCO_BBOX_FILE": f"data/coco/person_detection_results/{boxes}"},
    }  # fmt: skip


PUBLISHED = [name for name in CONFIGS if "hourglass" in name or name.startswith("coco")]


@pytest.mark.parametrize("name", RECORD)
def test_an_experiment_resolves_as_recorded(name: str) -> None:
    assert differences(load_config(f"pose-asda/{name}"), RECORD[name]) == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_show_config_prints_a_complete_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_show_config("asda", name, tmp_path, capsys)


def test_pages_are_kept_as_the_others_are() -> None:
    assert page_faults("asda") == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_experiment_equals_its_published_file(name: str) -> None:
    """Only in one setting, which the pages' headers name: whether two faults of pasting are repeated."""
    content = convert_published(published_file(name), f"{name}.yaml").config
    converted = parse_config(content, AsdaConfig, name)
    ours = load_config(f"pose-asda/{name}", ["parts.compat=true"]).model_copy(update={"note": ""})
    assert dump_config(ours) == dump_config(converted)
    assert not load_config(f"pose-asda/{name}").parts.compat
    page = Path(pose_asda.__file__).parent / "experiments" / f"{name.partition('_')[0]}.yaml"
    assert "parts.compat=true" in page.read_text("utf-8").partition("protocol:")[0]


def test_every_experiment_is_valid_and_names_a_network() -> None:
    assert len(PUBLISHED) == 6
    for name in CONFIGS:
        config = load_config(f"pose-asda/{name}")
        assert isinstance(config, AsdaConfig)
        assert config.note
        assert config.model.name in list_models()
        for part in (1, 2, 3, 4, 6, 8):
            if name.endswith(f"numpart{part}"):
                assert config.parts.counts == (part,)


def test_a_converted_file_says_what_became_of_its_keys() -> None:
    converted = convert_published(published_file("mpii_hourglass_stack8_256x256_numpart1"), "stack8.yaml")
    assert converted.config["model"] == {"name": "asda_hourglass_8", "input_size": [256, 256], "init": "framework"}
    assert "ASA.NUM_AUG → parts.counts" in converted.mapped
    assert "STN.LR → generator.lr" in converted.mapped
    assert f"MODEL.PRETRAINED: {HOURGLASS_WEIGHTS}" in converted.meaningless
    assert converted.config["parts"]["compat"]
    assert any("parts.compat=false" in note for note in converted.notes)


def test_a_network_without_parts_stays_plain() -> None:
    content = published_file("mpii_hourglass_stack2_256x256_numpart1")
    del content["ASA"], content["STN"]
    assert convert_published(content, "plain.yaml").config["generator"] == {"placement": "none"}
    content["MODEL"]["NET"]["NSTACKS"] = "two"
    with pytest.raises(ConfigError, match=r"NSTACKS is 'two'; expected a positive whole number"):
        convert_published(content, "plain.yaml")
    content["MODEL"]["NET"]["NSTACKS"] = 2
    content["STM"] = {"LR": 1}
    with pytest.raises(ConfigError, match=r"unknown key STM\.LR; did you mean STN\.LR"):
        convert_published(content, "plain.yaml")


def test_a_published_value_of_the_wrong_kind_is_named() -> None:
    content = published_file("mpii_hourglass_stack2_256x256_numpart1")
    content["ASA"]["NUM_AUG"] = "one"
    with pytest.raises(ConfigError, match=r"odd\.yaml: ASA\.NUM_AUG is 'one'"):
        convert_published(content, "odd.yaml")


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="must be odd"):
        PartsConfig(blur=(4, 3))
    with pytest.raises(ValueError, match="must be two positive numbers in order"):
        PartsConfig(scale_range=(1.3, 0.7))
    with pytest.raises(ConfigError, match="leave nothing to update"):
        load_config("pose-asda/synthetic_adversarial", ["generator.steps=0", "generator.pose_steps=0"])
