"""A person's own data: files by name, any category id, no areas; check refuses what evaluation refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_core.bottomup.evaluate import result_entries
from pose_core.cli import main
from pose_core.config import DataConfig, ModelConfig, TrainConfig
from pose_core.data.category_skeleton import skeleton_file
from pose_core.data.diagnostics import Problems
from pose_core.errors import DataError
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.layouts.check import check_dataset
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.skeleton import get_skeleton
from pose_core.structures import Poses
from pose_core.synthetic import write_dataset
from pose_core.topdown.config import CropTestConfig, TopDownConfig
from pose_core.topdown.detections import read_detections
from pose_core.topdown.evaluate import evaluate_topdown
from pose_testing.annotations import coco_content, person, write_image

JOINTS = ("nose", "left_paw", "right_paw", "tail")
MODEL = ModelConfig(name="simplebaseline_resnet18", input_size=(64, 64), options={"width": 8, "filters": [16, 16, 16]})


def write_own(root: Path, **change: Any) -> DataConfig:
    """Write train.json, val.json and a flat images/ of dogs, whose category id is 7 and who have no areas."""
    for number, split in enumerate(("train", "val")):
        content = coco_content(images=2, people=0)
        for image in content["images"]:
            image["id"] += 10 * number
            image["file_name"] = f"{split}{image['id']}.jpg"
            write_image(root / "images" / image["file_name"], 64, 48, image["id"])
            content["annotations"].append(person(image["id"], image["id"], 4, category_id=7) | change)
            if "area" not in change:
                del content["annotations"][-1]["area"]
        content["categories"] = [{"id": 1, "name": "lamp"}, {"id": 7, "name": "dog", "keypoints": list(JOINTS)}]
        (root / f"{split}.json").write_text(json.dumps(content))
    (root / "dog.yaml").write_text(skeleton_file(root / "train.json"))
    return DataConfig(root=str(root), train="train.json", val="val.json", skeleton=str(root / "dog.yaml"))


def test_own_files_are_checked_read_and_scored_in_their_category(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_own(tmp_path)
    words = ["data", "check", "--root", str(tmp_path), "--splits", "train.json", "val.json"]
    assert main([*words, "--skeleton", data.skeleton]) == 0
    text = capsys.readouterr().out
    assert "2 images (2 present, 2 opened), 2 with people" in text
    assert "2 × no area (computed from the box)" in text
    problems = Problems()
    found = read_dataset(data, "train.json", problems=problems)
    assert found.records[0].source == str(tmp_path / "images" / "train1.jpg")
    assert found.records[0].persons[0].area == pytest.approx(0.53 * 30 * 40)
    assert problems.counts["no area"] == 2

    config = TopDownConfig(
        method="lite", data=data, model=MODEL, train=TrainConfig(workers=0), test=CropTestConfig(workers=0)
    )
    network = build_network(config)
    for _ in range(2):
        evaluation = evaluate_topdown(network, config, torch.device("cpu"), tmp_path / "run")
    assert 0 <= evaluation.metrics["AP"] <= 1
    said = [record.getMessage() for record in caplog.records if f"{tmp_path / 'val.json'}:" in record.getMessage()]
    assert len(said) == 1  # not at each evaluation
    assert said[0].endswith("2 of 2 annotations have no 'area'; OKS uses 0.53 of the box's area for them")
    entries = json.loads((tmp_path / "run/results/keypoints_val_results.json").read_text())
    assert {entry["category_id"] for entry in entries} == {7}
    assert len(entries) == 2


@pytest.mark.parametrize("folder", ["images/train", "images", "train", "."])
def test_own_images_are_found(folder: str, tmp_path: Path) -> None:
    data = write_own(tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    place = tmp_path / folder
    for image in (tmp_path / "moved").iterdir():
        place.mkdir(parents=True, exist_ok=True)
        image.rename(place / image.name)
    assert Path(read_dataset(data, "train.json").records[0].source) == place / "train1.jpg"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train.json").rename(tmp_path / "annotations" / "train.json")
    assert len(read_dataset(data, "train.json").records) == 2


def test_entries_of_whole_images_carry_the_category() -> None:
    poses = Poses(np.zeros((1, 17, 2)), np.ones((1, 17)), np.ones(1), get_skeleton("coco17"))
    assert result_entries(poses, 5, 7)[0]["category_id"] == 7


def test_detections_of_the_own_category_are_used(tmp_path: Path) -> None:
    records = read_dataset(write_own(tmp_path), "val.json").records
    rows = [{"image_id": 11, "category_id": c, "bbox": [1, 2, 30, 40], "score": 0.9} for c in (1, 7, 8)]
    (tmp_path / "found.json").write_text(json.dumps(rows))
    found = read_detections(tmp_path / "found.json", records, category=7)
    assert [(p.annotation_id, p.category_id) for p in found[0].persons] == [(0, 7), (1, 7)]


def test_other_categories_are_no_obstacle(tmp_path: Path) -> None:
    """As in the reader, a category with another number of joints is left out."""
    content = coco_content(images=1, people=1)
    content["annotations"].append(person(99, 1, 4, category_id=7))
    content["categories"] = [
        {"id": 1, "name": "person", "keypoints": [str(k) for k in range(17)]},
        {"id": 7, "name": "dog", "keypoints": list(JOINTS)},
    ]
    entry = {"image_id": 1, "category_id": 1, "score": 1.0, "keypoints": content["annotations"][0]["keypoints"]}
    assert coco_keypoint_ap(content, [entry])["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"area": "wide"}, "'area'"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"iscrowd": 1, "bbox": None}, "bbox"),
        ({"num_keypoints": "four"}, "num_keypoints"),
        ({"keypoints": [0] * 12, "num_keypoints": 0}, "no annotated person"),
    ],
)
def test_check_fails_what_training_or_evaluation_refuses(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    data = write_own(tmp_path, **change)
    report = check_dataset("coco", tmp_path, ["val.json"], skeleton=data.skeleton)
    assert not report.ok
    assert says in str(report)


def test_check_needs_the_ground_truth_of_the_evaluated_split(tmp_path: Path) -> None:
    write_dataset(tmp_path, "mpii", images=2, val_images=2, people=(1, 1), size=(96, 80))
    assert check_dataset("mpii", tmp_path).ok
    truth = tmp_path / "annot" / "gt_valid.mat"
    other = tmp_path / "other"
    write_dataset(other, "mpii", images=2, val_images=3, people=(1, 1), size=(96, 80))
    truth.write_bytes((other / "annot" / "gt_valid.mat").read_bytes())
    report = check_dataset("mpii", tmp_path)
    assert [split.ok for split in report.splits] == [True, False]
    assert "refused by evaluation" in str(report)
    truth.unlink()
    assert "gt_valid.mat does not exist" in str(check_dataset("mpii", tmp_path))


def test_a_folder_of_another_layout_is_recognized(tmp_path: Path) -> None:
    write_dataset(tmp_path, "mpii", images=1, val_images=1, people=(1, 1), size=(96, 80))
    assert "this folder looks like the layout mpii (--layout)" in str(check_dataset("coco", tmp_path))
    with pytest.raises(DataError, match=r"this folder looks like the layout mpii \(data\.layout\)"):
        read_dataset(DataConfig(root=str(tmp_path)), "val2017")
