"""The tables of PUBLISHED.md: every command of ours runs on tiny data, and every figure's experiment exists.

``python integration_tests/test_published_commands.py`` runs the commands and prints the last line of each.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml
from torchvision.models import detection

from pose_asda.build_parts import synthetic_people, write_pool
from pose_core.cli import main, method_main
from pose_core.plugins.checkpoints import find_checkpoint
from pose_core.plugins.convert.networks import HRNET_TABLES
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method
from pose_core.plugins.network_tables import recorded_networks
from pose_core.plugins.networks import build_network, profile_model
from pose_core.synthetic import write_dataset
from pose_dekr.published_keys import bottomup_layers, dekr_layers
from pose_dekr.rescore import ScoreNet
from pose_testing.commands import check_command, without_launcher
from pose_testing.published import nested

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("packages/*/PUBLISHED.md"))
SETTING = re.compile(r"[a-z_]+(\.[a-z_]+)+=")

TINY = [
    "model.input_size=[64, 64]",
    "model.pretrained=null",
    "model.init=framework",
    "train.batch_size=4",
    "train.iterations=1",
    "train.workers=0",
    "test.workers=0",
    "run.device=cpu",
]


class Row(NamedTuple):
    """One line of a table: the published command, and ours as words."""

    published: str
    words: list[str]

    @property
    def command(self) -> str:
        return shlex.join(self.words)


class Result(NamedTuple):
    """What became of a command."""

    code: int
    last: str
    """The last line it printed."""
    messages: str
    seconds: float


def tables(page: Path) -> Iterator[list[dict[str, str]]]:
    """Yield the tables of a page; each row's cells by the table's header."""
    for block in re.findall(r"(?:^\|.*\n?)+", page.read_text("utf-8"), re.MULTILINE):
        header, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        yield [dict(zip(header, line, strict=True)) for line in lines]


def command_rows(page: Path) -> list[Row]:
    """Return the rows of a page's table of commands."""
    rows = next(table for table in tables(page) if "here" in table[0])
    return [Row(row["published"], shlex.split(command)) for row in rows for command in ours(row["here"])]


def ours(cell: str) -> list[str]:
    """Return the commands in a cell; each is in backquotes."""
    commands = re.findall(r"`([^`]+)`", cell)
    assert commands, cell
    return commands


def small_network(name: str) -> list[str]:
    """Return settings that make a network of an experiment narrow enough for a test."""
    families = {
        r"(dekr|bottomup)_": {"width": 18, "blocks": 1, "modules": [1, 1, 1]},
        r"hg_ae": {"channels": 16, "depth": 2, "increase": 8},
        r"hg_stack": {"channels": 16, "depth": 2},
        r"asda_hourglass": {"channels": 16, "depth": 2},
        r"mr(heat|fea)|simplebaseline": {"width": 8},
    }
    for family, options in families.items():
        if re.match(family, name):
            return [f"model.options={json.dumps(options)}"]
    return ["model.name=simplebaseline_resnet18", 'model.options={"width": 8}']


def tiny_settings(words: list[str]) -> list[str]:
    """Return the settings that make a command with an experiment or a run tiny; none for other commands."""
    if words[0] == "pose" or not any(word in words for word in ("--cfg", "--weights")):
        return []
    if "--cfg" not in words:
        return ["run.device=cpu"]
    method = words[0].removeprefix("pose-")
    config = load_config(configuration(words), overrides(words))
    more = {
        "advpose": ["split.valid_ids=valid_ids.txt"] if hasattr(config, "split") else [],
        "asda": ["generator.pretrained=null", "generator.width=8"],
    }
    return [*TINY, *small_network(config.model.name), *more.get(method, [])]


def configuration(words: list[str]) -> str:
    """Return the value of ``--cfg`` as `load_config` takes it."""
    name = words[words.index("--cfg") + 1]
    return name if name.endswith(".yaml") else f"{words[0]}/{name}"


def overrides(words: list[str]) -> list[str]:
    return [word for word in words if SETTING.match(word) or re.match(r"[A-Z_.]+=", word)]


def make_weights(words: list[str], settings: list[str]) -> None:
    """Write the checkpoint that a command names, as the published trainers do, unless the file is there already."""
    option = {"--weights", "TEST.MODEL_FILE"} & set(words)
    if not option or "--cfg" not in words:
        return
    file = Path(words[words.index(option.pop()) + 1])
    if file.exists():
        return
    torch.manual_seed(0)
    state = build_network(load_config(configuration(words), [*overrides(words), *settings])).state_dict()
    for key, value in state.items():
        if re.fullmatch(r"(head_heatmap|final_layers)\.1\.bias", key):  # heatmaps with a center of a person everywhere
            value[-1] += 1
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, file)


def make_desk(folder: Path) -> None:
    """Write the data sets, the pool of parts, the video and the weights that the published repositories expect."""
    data = folder / "data"
    write_dataset(data / "coco", "coco", 4, (1, 2), 1, val_images=2, size=(96, 80))
    write_dataset(data / "coco", "coco", 2, (1, 2), 2, split="test-dev2017", size=(96, 80))
    write_train2014(folder)
    write_dataset(data / "mpii", "mpii", 4, (1, 1), 3, val_images=2, size=(96, 80))
    write_dataset(data / "lsp", "lsp", 4, (1, 1), 4, size=(96, 80))
    write_dataset(data / "crowdpose", "crowdpose", 4, (1, 2), 5, val_images=2, size=(96, 80))
    (data / "crowdpose" / "json" / "crowdpose_trainval.json").unlink()
    write_pool(synthetic_people(folder / "scratch", 3, 1), folder / "lip" / "parts_bmp_filter_done", 200, 0.8)
    write_lip(folder)
    write_published_files(folder)
    write_video(folder / "video.mp4")
    (folder / "images").mkdir()
    photo = next((data / "coco" / "images" / "val2017").iterdir())
    (folder / "images" / "photo.jpg").write_bytes(photo.read_bytes())
    for name, joints in (("coco", 17), ("crowd_pose", 14)):
        file = folder / "model" / "rescore" / f"final_rescore_{name}_kpt.pth"
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(ScoreNet(joints).state_dict(), file)
    finder = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(finder.state_dict(), folder / "finder.pth")
    (folder / "detectors.csv").write_text(
        "name,network,url,sha256,license,data,metric,note\n"
        "fasterrcnn_mobilenet,ssdlite320_mobilenet_v3_large,finder.pth,,,,,\n"
    )


def write_train2014(folder: Path) -> None:
    """Copy COCO's training images under their names of 2014; list one of them as held out in ``valid_ids.txt``."""
    root = folder / "data" / "coco"
    content = json.loads((root / "annotations" / "person_keypoints_train2017.json").read_text())
    (root / "images" / "train2014").mkdir()
    for image in content["images"]:
        old = root / "images" / "train2017" / image["file_name"]
        image["file_name"] = f"COCO_train2014_{image['id']:012d}.jpg"
        (root / "images" / "train2014" / image["file_name"]).write_bytes(old.read_bytes())
    (root / "annotations" / "person_keypoints_train2014.json").write_text(json.dumps(content))
    (folder / "valid_ids.txt").write_text(f"{content['images'][0]['id']}\n")


def write_lip(folder: Path) -> None:
    """Write an image and a label map of the LIP data set: one rectangle for each of its 19 labels."""
    images, labels = folder / "LIP" / "train_images", folder / "LIP" / "train_segmentations"
    images.mkdir(parents=True)
    labels.mkdir()
    label = np.repeat(np.repeat(np.arange(20, dtype=np.uint8).reshape(4, 5), 40, 0), 40, 1)
    cv2.imwrite(str(labels / "1.png"), label)
    cv2.imwrite(str(images / "1.jpg"), np.full((*label.shape, 3), 200, np.uint8))


def write_video(file: Path) -> None:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 20, (96, 80))
    for level in range(4):
        writer.write(np.full((80, 96, 3), 60 * level, np.uint8))
    writer.release()


def published_files() -> dict[str, dict[str, object]]:
    """Return files of the published form by their published names, as far as our commands name them."""
    common: dict[str, object] = {
        "GPUS": "(0,1,2,3)", "WORKERS": 4, "OUTPUT_DIR": "output", "LOG_DIR": "log", "DATA_DIR": "",
        "TRAIN.OPTIMIZER": "adam", "TRAIN.LR": 0.001, "TRAIN.LR_FACTOR": 0.1, "TRAIN.WD": 0.0001,
        "TRAIN.BEGIN_EPOCH": 0, "TRAIN.END_EPOCH": 210, "TEST.FLIP_TEST": True,
    }  # fmt: skip
    topdown = common | {
        "DATASET.FLIP": True, "DATASET.SCALE_FACTOR": 0.35, "DATASET.ROT_FACTOR": 45, "LOSS.USE_TARGET_WEIGHT": True,
        "TRAIN.LR_STEP": [170, 200], "TEST.USE_GT_BBOX": True,
    }  # fmt: skip
    coco = topdown | {
        "DATASET.DATASET": "coco", "DATASET.ROOT": "data/coco/", "DATASET.TRAIN_SET": "train2017",
        "DATASET.TEST_SET": "val2017", "DATASET.COLOR_RGB": True, "MODEL.NUM_JOINTS": 17,
        "MODEL.IMAGE_SIZE": [192, 256], "MODEL.HEATMAP_SIZE": [48, 64], "MODEL.SIGMA": 2,
        "TRAIN.BATCH_SIZE_PER_GPU": 32, "TEST.BATCH_SIZE_PER_GPU": 32, "TEST.POST_PROCESS": True,
        "TEST.SHIFT_HEATMAP": True,
    }  # fmt: skip
    hrnet = coco | {
        "MODEL.NAME": "pose_hrnet", "MODEL.PRETRAINED": "models/pytorch/imagenet/hrnet_w32-36af842e.pth",
        **{f"MODEL.EXTRA.{key}": value for key, value in HRNET_TABLES["hrnet_w32"].items()},
    }  # fmt: skip
    parts = {
        "MODEL.NAME": "pose_hrnet2", "ASA.NUM_AUG": "(1,)", "ASA.BOTH_HF_SA": False, "ASA.ERODE_KERNEL": "(3, 3)",
        "ASA.PART_ANN_FILE": "./lip/parts_bmp_filter_done/part_anns.json", "ASA.GAUSSIAN_KERNEL": "(3, 3)",
        "ASA.PART_ROOT_DIR": "./lip/parts_bmp_filter_done/", "STN.LR": 0.001, "STN.STN_FIRST": 0,
    }  # fmt: skip
    resnet = topdown | {
        "GPUS": "0", "DATASET.DATASET": "coco", "DATASET.ROOT": "data/coco/", "DATASET.TRAIN_SET": "train2017",
        "DATASET.TEST_SET": "val2017", "MODEL.NAME": "mrheat1_pose_resnet", "MODEL.NUM_JOINTS": 17,
        "MODEL.IMAGE_SIZE": [192, 256], "MODEL.PRETRAINED": "models/pytorch/imagenet/resnet50-19c8e357.pth",
        "MODEL.EXTRA.HEATMAP_SIZE": [48, 64], "MODEL.EXTRA.SIGMA": 2, "MODEL.EXTRA.TARGET_TYPE": "gaussian",
        "MODEL.EXTRA.NUM_LAYERS": 50, "TRAIN.BATCH_SIZE": 64, "TEST.BATCH_SIZE": 32, "TEST.FLIP_TEST": False,
    }  # fmt: skip
    mpii = coco | {
        "DATASET.DATASET": "mpii", "DATASET.ROOT": "data/mpii/", "DATASET.TRAIN_SET": "train",
        "DATASET.TEST_SET": "valid", "DATASET.COLOR_RGB": False, "MODEL.NAME": "pose_resnet", "MODEL.NUM_JOINTS": 16,
        "MODEL.IMAGE_SIZE": [256, 256], "MODEL.HEATMAP_SIZE": [64, 64], "MODEL.EXTRA.NUM_LAYERS": 50,
        "MODEL.EXTRA.NUM_DECONV_LAYERS": 3, "MODEL.EXTRA.NUM_DECONV_FILTERS": [256, 256, 256],
        "MODEL.EXTRA.NUM_DECONV_KERNELS": [4, 4, 4], "MODEL.EXTRA.FINAL_CONV_KERNEL": 1,
        "MODEL.PRETRAINED": "models/pytorch/imagenet/resnet50-19c8e357.pth",
    }  # fmt: skip
    crowdpose = {
        "DATASET.DATASET": "crowdpose", "DATASET.ROOT": "data/crowdpose/", "DATASET.TRAIN_SET": "train",
        "DATASET.TEST_SET": "val", "MODEL.NUM_JOINTS": 14,
    }  # fmt: skip
    bottom_up = common | {
        "DATASET.DATASET": "coco_kpt", "DATASET.DATASET_TEST": "coco", "DATASET.DATA_FORMAT": "zip",
        "DATASET.ROOT": "data/coco", "DATASET.TRAIN": "train2017", "DATASET.TEST": "val2017", "DATASET.NUM_JOINTS": 17,
        "DATASET.INPUT_SIZE": 512, "DATASET.FLIP": 0.5, "DATASET.MAX_ROTATION": 30, "DATASET.MIN_SCALE": 0.75,
        "DATASET.MAX_SCALE": 1.5, "DATASET.SCALE_TYPE": "short", "DATASET.MAX_TRANSLATE": 40,
        "DATASET.OFFSET_RADIUS": 4, "DATASET.CENTER_SIGMA": 4, "MODEL.NUM_JOINTS": 17, "GPUS": "(0,)",
        "MODEL.PRETRAINED": "model/imagenet/hrnet_w32-36af842e.pth", "TRAIN.LR_STEP": [90, 120],
        "TEST.SCALE_FACTOR": [1], "RESCORE.MODEL_FILE": "model/rescore/final_rescore_coco_kpt.pth",
    }  # fmt: skip
    dekr = bottom_up | dekr_layers(32) | {
        "MODEL.NAME": "hrnet_dekr", "DATASET.OUTPUT_SIZE": 128, "DATASET.SIGMA": 2.0, "DATASET.BG_WEIGHT": 0.1,
        "LOSS.WITH_HEATMAPS_LOSS": True, "LOSS.HEATMAPS_LOSS_FACTOR": 1.0, "LOSS.WITH_OFFSETS_LOSS": True,
        "LOSS.OFFSETS_LOSS_FACTOR": 0.03, "TRAIN.IMAGES_PER_GPU": 10, "TEST.NMS_THRE": 0.05, "TEST.NMS_NUM_THRE": 8,
        "TEST.DECREASE": 0.9, "RESCORE.VALID": True,
    }  # fmt: skip
    older = bottom_up | bottomup_layers(32, higher=False) | {
        "MODEL.NAME": "pose_hrnet", "DATASET.OUTPUT_SIZE": [128], "DATASET.SIGMA": [[2.0, 2.0, 2.0]],
        "DATASET.BG_WEIGHT": [[0.1, 0.1, 0.1]], "DATASET.OFFSET_REG": True, "DATASET.WITH_CENTER": True,
        "LOSS.NUM_STAGES": 1, "LOSS.WITH_HEATMAPS_LOSS": [True], "LOSS.HEATMAPS_LOSS_FACTOR": [1.0],
        "LOSS.WITH_OFFSETS_LOSS": [True], "LOSS.OFFSETS_LOSS_FACTOR": [0.01], "TRAIN.IMAGES_PER_GPU": 12,
        "TEST.DIST_THRESHOLD": 10, "TEST.OVERLAP_THRESHOLD": 10, "RESCORE.USE": True,
    }  # fmt: skip
    return {
        "experiments/coco/w32/w32_4x_reg03_bs10_512_adam_lr1e-3_coco_x140.yaml": dekr,
        "experiments/coco/w32/w32_4x_reg_delaysep_bg01_stn_512_adam_lr1e-3_coco_x140.yaml": older,
        "experiments/mpii/resnet/res50_256x256_d256x3_adam_lr1e-3.yaml": mpii,
        "experiments/crowdpose/hrnet/w32_256x192_adam_lr1e-3.yaml": hrnet | crowdpose,
        "experiments/coco/hrnet/w32_256x192_adam_lr1e-3.yaml": hrnet,
        "experiments/coco/hrnet/w32_256x192_adam_lr1e-3_numPart1_bmp_notBothHfpSa.yaml": hrnet | parts,
        "experiments/coco/resnet50/256x192_d256x3_adam_lr1e-3.yaml": resnet,
    }


def write_published_files(folder: Path) -> None:
    for name, content in published_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(nested(content)))


@contextlib.contextmanager
def standing_at(folder: Path) -> Iterator[None]:
    """Work in a folder, with its detectors and a cache of its own."""
    before = dict(os.environ)
    os.environ |= {"POSE_HOME": str(folder / "home"), "POSE_DETECTORS": str(folder / "detectors.csv")}
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ |= before


def run(row: Row, folder: Path) -> Result:
    """Run our command of a row in a folder, with settings that make it tiny."""
    words = without_launcher(row.words)
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with standing_at(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        settings = tiny_settings(words)
        make_weights(words, settings)
        arguments = [*words[1:], *settings]
        code = main(arguments) if words[0] == "pose" else method_main(words[0].removeprefix("pose-"), arguments)
    lines = [line.strip() for line in out.getvalue().splitlines() if line.strip()]
    return Result(code, lines[-1] if lines else "", err.getvalue(), time.perf_counter() - start)


def method_of(page: Path) -> str:
    return page.parent.name.removeprefix("pose-")


def figure_rows(page: Path) -> list[dict[str, str]]:
    """Return the rows of a page's tables of figures."""
    return [row for table in tables(page) for row in table if "experiment" in row]


def test_every_package_has_its_tables() -> None:
    assert [page.parent.name for page in PAGES] == [
        "pose-advpose", "pose-asda", "pose-dekr", "pose-lite", "pose-mrpose"
    ]  # fmt: skip
    for page in PAGES:
        assert len(command_rows(page)) >= 15
        assert figure_rows(page)
        assert f"({page.name})" in page.with_name("README.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=method_of)
def test_every_command_is_understood(page: Path) -> None:
    figures = [shlex.split(command) for row in figure_rows(page) for command in ours(row["command"])]
    for words in [*(row.words for row in command_rows(page)), *figures]:
        check_command(without_launcher(words))


@pytest.mark.parametrize("page", PAGES, ids=method_of)
def test_a_figure_has_an_experiment_a_checkpoint_and_a_command_that_uses_them(page: Path) -> None:
    method = method_of(page)
    for row in figure_rows(page):
        (experiment,) = ours(row["experiment"])
        assert experiment in get_method(method).experiments()
        commands = row["command"]
        if row.get("checkpoint", "none known") != "none known":
            match = re.fullmatch(r"`(\S+)` \((.+)\)", row["checkpoint"])
            assert match, row["checkpoint"]
            entry = find_checkpoint(match[1])
            assert entry.experiment.rpartition("/")[2] == experiment
            assert match[2] == entry.metric
            assert f"--weights {match[1]}" in commands
        elif "checkpoint" in row:
            assert f"--cfg {experiment}" in commands


@pytest.mark.parametrize("page", PAGES, ids=method_of)
def test_sizes_and_costs_are_as_measured(page: Path) -> None:
    for row in figure_rows(page):
        if "parameters" not in row:
            continue
        (name,) = ours(row["network"])
        height, width, joints = map(int, re.findall(r"\d+", row["input, joints"]))
        cost = profile_model(name, (width, height), joints)
        assert row["parameters"] == f"{cost.parameters:,}"
        assert row["GMACs"] == f"{cost.gmacs:.3f}"
        assert row.get("GMACs as published, units of 1024³", f"{cost.published_gi:.3f}") == f"{cost.published_gi:.3f}"
        if joints == 17:
            assert cost.parameters == recorded_networks()[name].parameters


@pytest.fixture(scope="module")
def full_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "desk"
    make_desk(folder)
    return folder


@pytest.fixture
def desk(full_desk: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder in which the commands run."""
    return Path(shutil.copytree(full_desk, tmp_path / "desk"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=method_of)
def test_every_command_of_ours_runs(page: Path, desk: Path) -> None:
    failed = []
    for row in command_rows(page):
        result = run(row, desk)
        print(f"{row.command}\n    {result.last}")
        if result.code or not result.last:
            failed.append(f"{row.command}: {result.messages[-1000:] or 'printed nothing'}")
    assert not failed, "\n".join(failed)


@pytest.mark.slow
def test_torchrun_starts_the_training_of_several_processes(desk: Path) -> None:
    page = next(page for page in PAGES if method_of(page) == "lite")
    row = next(row for row in command_rows(page) if {"torchrun", "--standalone"} <= set(row.words))
    with standing_at(desk):
        words = [*row.words[1:], *tiny_settings(without_launcher(row.words))]
        words[words.index("--nproc_per_node=4")] = "--nproc_per_node=2"
        command = [sys.executable, "-m", "torch.distributed.run", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(desk.glob("runs/*/best.pt"))


if __name__ == "__main__":
    for each in PAGES:
        if sys.argv[1:] and each.parent.name not in sys.argv[1:]:
            continue
        print(f"## {each.parent.name}\n\n| published | here | last line |\n| --- | --- | --- |")
        with tempfile.TemporaryDirectory() as name:
            make_desk(Path(name))
            for row in command_rows(each):
                result = run(row, Path(name))
                print(f"| {row.published} | `{row.command}` | {result.last} |", flush=True)
                if result.code:
                    print(result.messages[-1500:], file=sys.stderr, flush=True)
