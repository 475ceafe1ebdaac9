"""The built-in experiments: complete, valid, and equal to the published files."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.cli import main
from pose_core.config import parse_config
from pose_core.errors import ConfigError
from pose_core.plugins.convert.source import render_notes
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.networks import list_models
from pose_core.plugins.published import convert_published
from pose_dekr.config import DekrConfig
from pose_dekr.published_keys import (
    DECONVOLUTION,
    FIXED,
    NEVER,
    OWN,
    READ,
    WITHOUT_MEANING,
    bottomup_layers,
    dekr_layers,
)
from pose_testing.experiments import check_show_config, differences, page_faults, read_record
from pose_testing.published import ANY_VALUE, changes, nested

CONFIGS = get_method("dekr").experiments()
RECORD = read_record(Path(__file__).parent)
NETWORKS = {
    "dekr_w32_512": ("hrnet_dekr", 32, 512, {"coco": 10, "crowdpose": 10}),
    "dekr_w48_640": ("hrnet_dekr", 48, 640, {"coco": 5, "crowdpose": 5}),
    "bottomup_w32_512": ("pose_hrnet", 32, 512, {"coco": 12, "crowdpose": 10}),
    "bottomup_w48_640": ("pose_hrnet", 48, 640, {"coco": 12, "crowdpose": 10}),
    "bottomup_higher_w48_640": ("pose_higher_hrnet", 48, 640, {"coco": 12, "crowdpose": 10}),
}
"""Part of our name → the published network, width, input, and images per GPU."""
PUBLISHED = [f"{layout}_{network}" for layout in ("coco", "crowdpose") for network in NETWORKS]


def published_file(name: str) -> dict[str, Any]:
    """Return the content of a published file, by dotted keys."""
    layout, _, short = name.partition("_")
    network, width, size, batch = NETWORKS[short]
    coco, is_dekr, higher = layout == "coco", network == "hrnet_dekr", network == "pose_higher_hrnet"
    word = "coco_kpt" if coco else "crowd_pose_kpt"
    backbone = "hrnet_w32-36af842e.pth" if width == 32 else "hrnetv2_w48_imagenet_pretrained.pth"
    content: dict[str, Any] = {
        "AUTO_RESUME": True, "DATA_DIR": "", "GPUS": "(0,)", "LOG_DIR": "log", "OUTPUT_DIR": "output",
        "PRINT_FREQ": 100, "WORKERS": 4, "CUDNN.BENCHMARK": True, "CUDNN.DETERMINISTIC": False, "CUDNN.ENABLED": True,
        "DATASET.DATASET": word, "DATASET.DATASET_TEST": word.removesuffix("_kpt"), "DATASET.DATA_FORMAT": "zip",
        "DATASET.FLIP": 0.5, "DATASET.INPUT_SIZE": size, "DATASET.MAX_NUM_PEOPLE": 30, "DATASET.MAX_ROTATION": 30,
        "DATASET.MAX_SCALE": 1.5, "DATASET.MIN_SCALE": 0.75, "DATASET.SCALE_TYPE": "short",
        "DATASET.MAX_TRANSLATE": 40, "DATASET.NUM_JOINTS": 17 if coco else 14, "DATASET.ROOT": f"data/{layout}",
        "DATASET.TEST": "val2017" if coco else "test", "DATASET.TRAIN": "train2017" if coco else "trainval",
        "DATASET.OFFSET_RADIUS": 4, "DATASET.CENTER_SIGMA": 4.0,
        "MODEL.INIT_WEIGHTS": True, "MODEL.NAME": network, "MODEL.NUM_JOINTS": 17 if coco else 14,
        "MODEL.PRETRAINED": f"model/imagenet/{backbone}",
        "TEST.FLIP_TEST": True, "TEST.IMAGES_PER_GPU": 1, "TEST.MODEL_FILE": "", "TEST.SCALE_FACTOR": [1],
        "RESCORE.MODEL_FILE": f"model/rescore/final_rescore_{word}.pth",
        "TRAIN.BEGIN_EPOCH": 0, "TRAIN.CHECKPOINT": "", "TRAIN.END_EPOCH": 140 if coco else 300, "TRAIN.GAMMA1": 0.99,
        "TRAIN.GAMMA2": 0.0, "TRAIN.IMAGES_PER_GPU": batch[layout], "TRAIN.LR": 0.001, "TRAIN.LR_FACTOR": 0.1,
        "TRAIN.LR_STEP": [90, 120] if coco else [200, 260], "TRAIN.MOMENTUM": 0.9, "TRAIN.NESTEROV": False,
        "TRAIN.OPTIMIZER": "adam", "TRAIN.RESUME": False, "TRAIN.SHUFFLE": True, "TRAIN.WD": 0.0001,
    }  # fmt: skip
    if is_dekr:
        return content | dekr_layers(width) | {
            "MODEL.SPEC.PRETRAINED_LAYERS": ["*"], "MODEL.SPEC.STAGES.FUSE_METHOD": ["SUM"] * 3,
            "DATASET.OUTPUT_SIZE": size // 4, "DATASET.SIGMA": 2.0, "DATASET.BG_WEIGHT": 0.1,
            "LOSS.WITH_HEATMAPS_LOSS": True, "LOSS.HEATMAPS_LOSS_FACTOR": 1.0, "LOSS.WITH_OFFSETS_LOSS": True,
            "LOSS.OFFSETS_LOSS_FACTOR": 0.03, "VERBOSE": False,
            "TEST.NMS_THRE": 0.05, "TEST.NMS_NUM_THRE": 8 if coco else 7, "TEST.KEYPOINT_THRESHOLD": 0.01,
            "TEST.ADJUST_THRESHOLD": 0.05, "TEST.MAX_ABSORB_DISTANCE": 75, "TEST.GUASSIAN_KERNEL": 6,
            "TEST.DECREASE": 0.9 if coco else 0.8, "RESCORE.VALID": True,
        }  # fmt: skip
    fine = [[2.0]] if higher else []
    # Also without a deconvolution the files state one, of 32 channels.
    deconvolution = (
        {} if higher else {"MODEL.EXTRA.DECONV.NUM_BASIC_BLOCKS": 0, "MODEL.EXTRA.DECONV.NUM_CHANNELS": [32]}
    )
    return content | bottomup_layers(width, higher=higher) | deconvolution | {
        "MODEL.EXTRA.PRETRAINED_LAYERS": ["*"], "MODEL.EXTRA.STEM_INPLANES": 64,
        **{f"MODEL.EXTRA.STAGE{stage}.FUSE_METHOD": "SUM" for stage in (2, 3, 4)},
        "DATASET.OUTPUT_SIZE": [size // 4, size // 2] if higher else [size // 4], "DATASET.OFFSET_REG": True,
        "DATASET.USE_BBOX_CENTER": False, "DATASET.WITH_CENTER": True, "DATASET.SIGMA": [[2.0, 2.0, 2.0], *fine],
        "DATASET.BG_WEIGHT": [[0.1, 0.1, 0.1], *([[0.025]] if higher else [])],
        "DEBUG.DEBUG": False, "DEBUG.SAVE_BATCH_IMAGES_GT": False, "DEBUG.SAVE_BATCH_IMAGES_PRED": False,
        "DEBUG.SAVE_HEATMAPS_GT": True, "DEBUG.SAVE_HEATMAPS_PRED": True, "DEBUG.SAVE_TAGMAPS_PRED": True,
        "LOSS.NUM_STAGES": 1 + higher, "LOSS.WITH_HEATMAPS_LOSS": [True] * (1 + higher),
        "LOSS.HEATMAPS_LOSS_FACTOR": [1.0] * (1 + higher), "LOSS.OFFSETS_LOSS_FACTOR": [0.01] * (1 + higher),
        "LOSS.WITH_OFFSETS_LOSS": [True, False][: 1 + higher], "TEST.WITH_HEATMAPS": "(True,)",
        "TEST.NMS_KERNEL": 5, "TEST.NMS_PADDING": 2, "TEST.DIST_THRESHOLD": 10, "TEST.OVERLAP_THRESHOLD": 10,
        "RESCORE.USE": True,
        "RESCORE.DATA_FILE": f"data/rescore_data/rescore_dataset_train_{word}",
    }  # fmt: skip


@pytest.mark.parametrize("name", RECORD)
def test_an_experiment_resolves_as_recorded(name: str) -> None:
    assert differences(load_config(f"pose-dekr/{name}"), RECORD[name]) == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_show_config_prints_a_complete_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_show_config("dekr", name, tmp_path, capsys)


def test_pages_follow_the_common_form() -> None:
    assert page_faults("dekr") == []


@pytest.mark.parametrize("name", CONFIGS)
def test_every_experiment_names_a_network_and_has_a_note(name: str) -> None:
    config = load_config(f"pose-dekr/{name}")
    assert config.method == "dekr"
    assert config.model.name in list_models()
    assert config.note


def test_every_published_experiment_is_included() -> None:
    assert {name for name in CONFIGS if not name.startswith("synthetic")} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_built_in_experiments_equal_the_converted_published_files(name: str) -> None:
    converted = convert_published(nested(published_file(name)), f"{name}.yaml")
    theirs = parse_config(converted.config, DekrConfig, name).model_dump()
    ours = load_config(f"pose-dekr/{name}").model_dump()
    # A converted file repeats the published code where our own experiments do better.
    assert (ours["offset"].pop("area"), theirs["offset"].pop("area")) == ("joints", "published")
    assert (ours["test"].pop("compat"), theirs["test"].pop("compat")) == (False, True)
    # The published files state a number of loader processes, which suits their authors' machine.
    assert (ours["train"].pop("workers"), theirs["train"].pop("workers")) == (None, 4)
    plain = "bottomup_w" in name
    assert (ours["model"].pop("options"), theirs["model"].pop("options")) == ({}, {"compat": True} if plain else {})
    # The published files name a scoring network that only their authors have.
    assert (ours["rescore"].pop("use"), ours["rescore"].pop("weights")) == (False, None)
    assert theirs["rescore"].pop("use")
    assert "/final_rescore_" in theirs["rescore"].pop("weights")
    # DEKR's training files do not name the scoring network's data.
    if "dekr" in name:
        del theirs["rescore"]["data"], ours["rescore"]["data"]
    del theirs["note"], ours["note"]
    assert ours == theirs
    assert len(converted.mapped) + len(converted.meaningless) == len(published_file(name))
    assert "heatmap.sigma" in render_notes(converted)
    assert "about the other system" not in render_notes(converted)
    assert "offset.area=published" in render_notes(converted) or "dekr" not in name
    assert "test.compat=true" in render_notes(converted)


def test_a_scoring_network_is_used_when_its_weights_are_given() -> None:
    def use(*overrides: str) -> bool:
        config = load_config("pose-dekr/coco_dekr_w32_512", overrides)
        assert isinstance(config, DekrConfig)
        return config.rescore.use

    assert not use()
    assert use("rescore.weights=score.pt")
    assert not use("rescore.weights=score.pt", "rescore.use=false")


def test_files_for_rescoring_and_demos_load() -> None:
    section = {"END_EPOCH": 20, "LR": 0.001, "HIDDEN_LAYER": 256, "BATCHSIZE": 1024, "MODEL_ROOT": "model/rescore/",
               "MODEL_FILE": "model/rescore/x.pth", "DATA_FILE": "../data/rescore_data/x"}  # fmt: skip
    dataset = {"DATASET": "crowd_pose_kpt", "DATASET_TEST": "crowd_pose", "NUM_JOINTS": 14}
    converted = convert_published({"DATA_DIR": "", "DATASET": dataset, "RESCORE": section}, "train_rescore.yaml")
    config = parse_config(converted.config, DekrConfig, "x")
    assert config.model.name == "bottomup_hrnet_w32"
    assert (config.rescore.data, config.rescore.epochs) == ("data/rescore_data/x.npz", 20)
    assert any("names no network" in note for note in converted.notes)
    flat = published_file("coco_dekr_w32_512")
    flat = {key: value for key, value in flat.items() if not key.startswith(("TRAIN.", "LOSS.")) and key != "WORKERS"}
    flat |= {"DATASET.TEST": "rescore_coco", "DATASET.DATASET_TEST": "rescore_coco", "RESCORE.VALID": False,
             "RESCORE.GET_DATA": True}  # fmt: skip
    config = parse_config(convert_published(nested(flat), "rescore_coco.yaml").config, DekrConfig, "x")
    assert (config.data.val, config.rescore.use, config.train.epochs) == ("val2017", False, 140)


SGD = {"TRAIN.OPTIMIZER": "sgd"}
SYSTEMS = {
    "dekr": published_file("coco_dekr_w32_512") | SGD | FIXED["dekr"] | {
        "TEST.MATCH_HMP": False, "RESCORE.END_EPOCH": 20, "RESCORE.LR": 0.001, "RESCORE.BATCHSIZE": 1024,
        "RESCORE.HIDDEN_LAYER": 256, "RESCORE.DATA_FILE": "data/rescore"},
    "bottomup": published_file("coco_bottomup_higher_w48_640") | SGD | FIXED["bottomup"] | {
        "TEST.SCALE_DECREASE": 0.001, "TEST.KEYPOINT_THRESHOLD": 0.01, "TEST.ADJUST_THRESHOLD": 0.05,
        "TEST.MAX_ABSORB_DISTANCE": 75, "TEST.GUASSIAN_KERNEL": 6, "RESCORE.END_EPOCH": 20, "RESCORE.LR": 0.001,
        "RESCORE.HIDDEN_LAYER": 256, "RESCORE.BATCHSIZE": 1024},
}  # fmt: skip
"""Files that state every key that a system reads; they train with SGD, so that those keys are read, too."""


def read_keys(system: str) -> list[str]:
    layers = dekr_layers(32) if system == "dekr" else bottomup_layers(48, higher=True)
    listed = "MODEL.SPEC.PRETRAINED_LAYERS" if system == "dekr" else "MODEL.EXTRA.PRETRAINED_LAYERS"
    stages = [] if system == "dekr" else ["LOSS.NUM_STAGES"]
    return [*READ, *OWN[system], *FIXED[system], *layers, listed, *stages]


@pytest.mark.parametrize(("system", "key"), [(system, key) for system in SYSTEMS for key in read_keys(system)])
def test_a_key_that_is_read_changes_the_experiment_or_is_refused(system: str, key: str) -> None:
    flat = SYSTEMS[system] | ({"GPUS": [0, 1]} if key == "GPUS" else {})
    assert changes(flat, key, "w32_4x.yaml")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_files_state_no_other_key_that_could_matter(system: str) -> None:
    converted = convert_published(nested(SYSTEMS[system]), "x.yaml")
    inert = {line.split(": ")[0] for line in converted.meaningless} - FIXED[system].keys() - {"LOSS.NUM_STAGES"}
    assert SYSTEMS[system].keys() - inert == set(read_keys(system))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("value", ANY_VALUE, ids=str)
def test_a_key_that_is_not_read_changes_nothing(system: str, value: Any) -> None:
    other = "bottomup" if system == "dekr" else "dekr"
    layers = bottomup_layers(48, higher=True) if system == "dekr" else dekr_layers(32)
    never = [key.replace("*.BBOX_*", "TEST.BBOX_GROUPING").replace("*", "TEST") for key in NEVER]
    fuse = "MODEL.SPEC.STAGES.FUSE_METHOD" if system == "dekr" else "MODEL.EXTRA.STAGE3.FUSE_METHOD"
    theirs = {*OWN[other], *FIXED[other], *layers} - FIXED[system].keys()
    plain = convert_published(nested(SYSTEMS[system]), "x.yaml").config
    for key in (*WITHOUT_MEANING, *theirs, fuse, *never):
        if key not in OWN[system] and not key.startswith("MODEL.TEST."):
            assert convert_published(nested(SYSTEMS[system] | {key: value}), "x.yaml").config == plain, key


@pytest.mark.parametrize(
    ("name", "change", "keys"),
    [
        ("coco_bottomup_w48_640", {}, DECONVOLUTION),
        ("crowdpose_bottomup_w48_640", {}, (*DECONVOLUTION, "DATASET.CENTER_SIGMA")),
        ("crowdpose_dekr_w32_512", {}, ("DATASET.CENTER_SIGMA", "TRAIN.WD", "TRAIN.MOMENTUM", "TRAIN.NESTEROV")),
        ("coco_dekr_w32_512", {"RESCORE.VALID": False}, ("RESCORE.HIDDEN_LAYER",)),
        ("coco_bottomup_w32_512", {"RESCORE.USE": False}, ("RESCORE.HIDDEN_LAYER",)),
        ("coco_dekr_w48_640", {"MODEL.INIT_WEIGHTS": False}, ("MODEL.PRETRAINED", "MODEL.SPEC.PRETRAINED_LAYERS")),
        ("coco_bottomup_w32_512", {"MODEL.PRETRAINED": ""}, ("MODEL.EXTRA.PRETRAINED_LAYERS",)),
    ],
)
@pytest.mark.parametrize("value", ANY_VALUE, ids=str)
def test_a_key_that_is_not_read_in_such_a_file_changes_nothing(
    name: str, change: dict[str, Any], keys: tuple[str, ...], value: Any
) -> None:
    flat = published_file(name) | change
    plain = convert_published(nested({k: v for k, v in flat.items() if k not in keys}), "x.yaml").config
    for key in keys:
        assert convert_published(nested(flat | {key: value}), "x.yaml").config == plain, key


def test_entries_of_lists_that_are_not_read_change_nothing() -> None:
    plain = published_file("coco_bottomup_w32_512")
    more = {"DATASET.SIGMA": [[2.0] * 3, [9.0]], "DATASET.BG_WEIGHT": [[0.1] * 3, [0.5, 0.6]],
            "LOSS.HEATMAPS_LOSS_FACTOR": [1.0, 3.0], "LOSS.OFFSETS_LOSS_FACTOR": [0.01, 5.0],
            "LOSS.WITH_HEATMAPS_LOSS": [True, False], "LOSS.WITH_OFFSETS_LOSS": [True, True]}  # fmt: skip
    wanted = convert_published(nested(plain), "x.yaml").config
    assert convert_published(nested(plain | more), "x.yaml").config == wanted
    higher = published_file("coco_bottomup_higher_w48_640")
    for key in ("DATASET.SIGMA", "DATASET.BG_WEIGHT", "LOSS.WITH_HEATMAPS_LOSS", "LOSS.WITH_OFFSETS_LOSS"):
        with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
            convert_published(nested(higher | {key: more[key]}), "x.yaml")


@pytest.mark.parametrize(
    ("name", "change", "note"),
    [
        ("coco_bottomup_w32_512", {"DATASET.TEST": "test-dev2017"}, "the published code stops on test-dev2017"),
        ("coco_dekr_w32_512", {"DATASET.TEST": "test-dev2017"}, "does not find the images of test-dev2017"),
        ("coco_bottomup_w32_512", {"DEBUG.DEBUG": True}, "the published training stops where it draws images"),
        ("coco_dekr_w32_512", {"GPUS": "(0,1)"}, "10 per GPU times 2 in GPUS, and the published runs had 4 processes"),
        ("crowdpose_dekr_w32_512", {}, "draws CrowdPose's center with SIGMA 2, whatever CENTER_SIGMA"),
    ],
)
def test_notes_say_what_the_published_code_does(name: str, change: dict[str, Any], note: str) -> None:
    converted = convert_published(nested(published_file(name) | change), "x.yaml")
    assert note in " ".join(render_notes(converted).split())


def test_scales_are_read_in_several_notations() -> None:
    for value in ([0.5, 1, 2], "0.5,1,2", "(0.5, 1, 2)"):
        flat = published_file("coco_dekr_w32_512") | {"TEST.SCALE_FACTOR": value}
        assert convert_published(nested(flat), "x.yaml").config["test"]["scales"] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TEST.NMS_TRHE": 1}, r"unknown key TEST\.NMS_TRHE; did you mean TEST\.NMS_THRE\?"),
        ({"MODEL.NAME": "hrnet_dkr"}, "did you mean hrnet_dekr"),
        ({"MODEL.SPEC.STAGES.NUM_CHANNELS": None}, r"MODEL\.SPEC\.STAGES\.NUM_CHANNELS is None"),
        ({"MODEL.SPEC.HEAD_OFFSET.NUM_CHANNELS_PERKPT": 30}, "NUM_CHANNELS_PERKPT is 30; this network has 15"),
        ({"MODEL.SPEC.STAGES.NUM_CHANNELS": [[16, 32]]}, r"hrnet_dekr has widths \(32, 48\)"),
        ({"DATASET.NUM_JOINTS": 14}, "NUM_JOINTS is 14, but coco_kpt has the 17 of coco17"),
        ({"DATASET.DATASET": "coco"}, "'coco' is none of coco_kpt"),
        ({"DATASET.OUTPUT_SIZE": 256}, r"OUTPUT_SIZE is \[256\]; dekr_hrnet_w32 has \[128\] for 512 pixels"),
        ({"DATASET.SIGMA": [[2.0, 3.0]]}, "SIGMA has several values"),
        ({"DATASET.SIGMA": "wide"}, "SIGMA is 'wide'; expected numbers per map size"),
        ({"DATASET.BG_WEIGHT": [[0.1, 0.2]]}, "BG_WEIGHT must be one number"),
        ({"DATASET.SCALE_TYPE": "middle"}, "SCALE_TYPE must be short or long"),
        ({"LOSS.HEATMAPS_LOSS_FACTOR": 2.0}, "HEATMAPS_LOSS_FACTOR can only be 1"),
        ({"LOSS.WITH_OFFSETS_LOSS": False}, r"WITH_OFFSETS_LOSS is \[False\]; here it can only be \[True\]"),
        ({"RESCORE.HIDDEN_LAYER": 128}, "HIDDEN_LAYER is 128"),
        ({"MODEL.NAME": []}, r"MODEL\.NAME \[\] is not known"),
    ],
)
def test_what_cannot_be_converted_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert_published(nested(published_file("coco_dekr_w32_512") | change), "x.yaml")


@given(
    st.sampled_from(sorted(published_file("coco_bottomup_higher_w48_640"))),
    st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.floats())),
)
def test_any_value_converts_or_is_refused_by_name(key: str, value: Any) -> None:
    content = deepcopy(published_file("coco_bottomup_higher_w48_640")) | {key: value}
    message = "x.yaml"
    try:
        convert_published(nested(content), "x.yaml")
    except ConfigError as error:
        message = str(error)
    assert "x.yaml" in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("test.scales=[0, 1]", r"test.scales=\[0.0, 1.0\]: 0 is not a size; scales are positive"),
        ("test.scales=[0.5, 2]", r"test.scales=\[0.5, 2.0\] lack 1"),
        ("test.scales=[1, 1]", "contain a scale twice"),
        ("test.scales=[1, 1.3]", "1.3 is none of 0.5, 1, 2, 4"),
        ("model.input_size=[512, 640]", r"\[512, 640\]: whole images are trained as squares"),
        ("test.boxes=gt", "unknown key 'test.boxes'"),
        ("augment.half_body=0.3", "unknown key 'augment.half_body'"),
        ("heatmap.stride=8", "heatmap.stride"),
        ("offset.area=box", "'offset.area' is 'box'"),
    ],
)
def test_bad_settings_are_named(override: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert main(["show-config", "--cfg", "coco_dekr_w32_512", override]) == 2
    assert re.search(message, capsys.readouterr().err)
