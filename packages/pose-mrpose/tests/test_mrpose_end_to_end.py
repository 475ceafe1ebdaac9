"""pose-mrpose as a user runs it: train, evaluate, submit, compare; and error messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from scipy.io import loadmat, savemat

from pose_core.cli import method_main
from pose_core.plugins.networks import create_model
from pose_core.synthetic import write_dataset

DESIGNS = ("mrheat1", "mrheat2", "mrfea1", "mrfea2")
TINY = [
    "model.input_size=[64, 64]", "model.options.width=8", "train.epochs=1", "train.batch_size=8", "test.batch_size=8",
    "run.device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write synthetic people: ``coco`` (with test-dev2017) and ``mpii``."""
    root = tmp_path_factory.mktemp("data")
    for layout in ("coco", "mpii"):
        write_dataset(root / layout, layout=layout, images=8, val_images=4, people=(1, 2), size=(160, 120))
    write_dataset(root / "coco", layout="coco", split="test-dev2017", images=3, people=(1, 2), size=(160, 120))
    return root


@pytest.fixture
def command(data: Path, tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs a command of pose-mrpose with a tiny network."""

    def run(verb: str, layout: str, *words: str) -> int:
        fixed = ["--cfg", f"synthetic_{layout}", f"data.root={data / layout}", f"run.dir={tmp_path / 'runs'}", *TINY]
        return method_main("mrpose", [verb, *fixed, *words])

    return run


def weights(tmp_path: Path, name: str = "mrfea2_resnet18", joints: int = 17) -> str:
    """Write a checkpoint like the published trainer's best one: a state dict with the data-parallel prefix."""
    file = tmp_path / "model_best.pth.tar"
    state = create_model(name, num_joints=joints, width=8).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, file)
    return str(file)


@pytest.mark.parametrize("layout", ["coco", "mpii"])
@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_trains_and_is_evaluated(
    design: str, layout: str, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = f"model.name={design}_resnet18"
    assert command("train", layout, network, "run.name=tiny") == 0
    folder = tmp_path / "runs" / "tiny"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("loss" in row for row in rows)
    capsys.readouterr()
    assert command("eval", layout, network, "--weights", str(folder / "best.pt")) == 0
    text = capsys.readouterr().out
    assert ("AP (M)" if layout == "coco" else "Mean@0.1") in text
    assert "boxes=ground-truth" in text


def test_test_dev_writes_a_file_for_the_server(
    data: Path, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = next((data / "coco" / "person_detection_results").glob("COCO_test-dev2017*.json"))
    words = ["--weights", weights(tmp_path), "--boxes", str(boxes), "--out", str(tmp_path), "data.val=test-dev2017"]
    assert command("eval", "coco", *words) == 0
    assert "nothing to score here" in capsys.readouterr().out
    file = next((tmp_path / "results").glob("person_keypoints_test-dev2017_*_results.json"))
    entries = json.loads(file.read_text())
    assert set(entries[0]) == {"image_id", "category_id", "keypoints", "score"}
    images = COCO(str(data / "coco" / "annotations" / "image_info_test-dev2017.json"))
    images.dataset["annotations"] = []
    results = images.loadRes(str(file))
    assert len(results.anns) == len(entries)
    assert all(len(entry["keypoints"]) == 51 for entry in entries)
    first = entries[0]
    print(f"{len(entries)} entries; the first: image {first['image_id']}, {first['keypoints'][:6]}, {first['score']}")


def test_mpii_test_writes_the_matrix_for_the_server(
    data: Path, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", weights(tmp_path, joints=16), "--out", str(tmp_path), "data.val=test"]
    assert command("eval", "mpii", *words) == 0
    assert "are not public: not scored" in capsys.readouterr().out
    people = json.loads((data / "mpii" / "annot" / "test.json").read_text())
    points = loadmat(tmp_path / "results" / "pred.mat")["preds"]
    assert points.shape == (len(people), 16, 2)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    print(f"preds {points.shape}, the first row: {points[0, :2].tolist()}")


def test_compare_prints_one_table(
    data: Path, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["model.options.width=8", "model.input_size=[64, 64]", "run.device=cpu"]
    pair = ["--cfg", "coco_mrfea1_resnet50_256x192", "mpii_mrfea1_resnet50_256x256"]
    assert method_main("mrpose", ["compare", "--params", *pair, *small]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert len(table) == 4
    assert table[2].startswith("| mrfea1_resnet50 | 64x64 |")

    names = ["synthetic_coco", "synthetic_coco"]
    files = [weights(tmp_path)] * 2
    words = ["compare", "--cfg", *names, "--weights", *files, "--out", str(tmp_path / "compare")]
    assert method_main("mrpose", [*words, f"data.root={data / 'coco'}", *small]) == 0
    text = capsys.readouterr().out
    assert "| AP | Ap .5 |" in text
    table = (tmp_path / "compare" / "table.md").read_text()
    assert table.count("| mrfea2_resnet18 |") == 2
    assert table.count("boxes=ground-truth") == 1

    assert method_main("mrpose", ["compare", "--cfg", *pair[1:], "--weights", *files]) == 2
    assert "different sets (coco val2017, mpii valid)" in capsys.readouterr().err
    assert method_main("mrpose", ["compare", "--cfg", *names, "--weights", files[0]]) == 2
    assert "2 experiments and --weights 1 files" in capsys.readouterr().err
    assert method_main("mrpose", ["compare", "--cfg", *names]) == 2
    assert "--params" in capsys.readouterr().err


def test_errors_say_how_to_fix_them(
    data: Path, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(code: int, result: int, *mentions: str) -> None:
        text = capsys.readouterr().err
        print(text.strip().splitlines()[-1])
        assert result == code, text
        for mention in mentions:
            assert mention in text
        assert "Traceback" not in text

    train = ("train", "coco")
    # The published initialization covers only the head.
    refused(2, command(*train, "model.init=published"), "model.pretrained", "model.init=framework")
    missing = str(tmp_path / "resnet18.pth")
    words = ("model.init=published", f"model.pretrained={missing}")
    refused(2, command(*train, *words), f"{missing}, which does not exist", "model.init=framework")
    # A checkpoint of another depth.
    wrong = weights(tmp_path, "mrfea2_resnet34")
    refused(1, command("eval", "coco", "--weights", wrong), "unexpected", "layer1.2")
    # Sizes that the backbone cannot halve.
    refused(2, command(*train, "model.input_size=[80, 64]"), "multiples of 32")
    # Boxes of another split.
    file = next((data / "coco" / "person_detection_results").glob("COCO_test-dev2017*.json"))
    words = ("--random-weights", "--boxes", str(file))
    refused(3, command("eval", "coco", *words), file.name, "none of its")
    refused(2, command("eval", "coco", "--random-weights", "model.name=mrheat1_resnet18_caffe"), "did you mean")


def test_a_matlab_file_without_a_field_is_named(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mpii"
    write_dataset(root, layout="mpii", images=4, val_images=2, people=(1, 1), size=(160, 120))
    file = root / "annot" / "gt_valid.mat"
    content = {key: value for key, value in loadmat(file).items() if not key.startswith("__")}
    del content["headboxes_src"]
    savemat(file, content)
    assert command("eval", "mpii", "--random-weights", f"data.root={root}") == 3
    text = capsys.readouterr().err
    print(text.strip())
    assert "headboxes_src" in text
    assert "gt_valid.mat" in text
