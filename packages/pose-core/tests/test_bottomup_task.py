"""Whole images from annotation files to the results table, with a stub network of known error."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_core.bottomup.config import BottomUpConfig, WholeTestConfig
from pose_core.bottomup.dataset import BottomUpDataset
from pose_core.bottomup.evaluate import evaluate_bottomup
from pose_core.bottomup.predictor import BottomUpPredictor, People, View, Views
from pose_core.bottomup.task import BottomUpTask
from pose_core.config import DataConfig, ModelConfig, TrainConfig
from pose_core.data import coco_file
from pose_core.engine.interfaces import Objective
from pose_core.errors import ConfigError, DataError
from pose_core.geometry import apply_affine
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.networks import build_network
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_testing.loaders import EXPLAINED, kill_loaders

CPU = torch.device("cpu")
STATISTICS = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
SPLITS = {"coco": ("coco17", "train2017"), "crowdpose": ("crowdpose14", "train")}


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return annotations of synthetic crowds, on images whose color is their number in the file."""
    root = tmp_path_factory.mktemp("crowds")
    for layout in SPLITS:
        write_dataset(root / layout, layout=layout, images=5, val_images=2, people=(1, 3), size=(96, 80), seed=4)
    write_dataset(root / "coco", layout="coco", split="test-dev2017", images=2, people=(1, 2), size=(96, 80))
    for layout, (skeleton, split) in SPLITS.items():
        found = read_dataset(
            DataConfig(layout=layout, root=str(root / layout), skeleton=skeleton), split, keep_unlabeled=True
        )
        for number, record in enumerate(found.records):
            cv2.imwrite(record.source, np.full((80, 96, 3), 20 * (number + 1), np.uint8))
    return root


def views_of(width: int, height: int, *, scale: float) -> list[View]:
    """Return one view: the image enlarged and shifted."""
    matrix = np.array([[scale, 0, 3.0], [0, scale, 5.0]])
    return [View((int(width * scale) + 8, int(height * scale) + 8), matrix)]


class Knowing(BottomUpPredictor):
    """A network that reads an image's number from its color and returns its people, shifted by ``error`` pixels."""

    error = 0.0
    decode_name = "knowledge"
    kinds: tuple[str, ...] = ("",)
    people: Mapping[int, np.ndarray] = {}

    @property
    def views(self) -> Views:
        return partial(views_of, scale=2.0)

    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        (image,), (view,) = images, views
        height, width = image.shape[2:]
        middle = image[0, :, height // 2, width // 2] * STATISTICS[1] + STATISTICS[0]
        known = self.people.get(round(float(middle.mean()) * 255 / 20) - 1, np.zeros((0, 17, 3)))
        inside = apply_affine(view.matrix, known[..., :2])
        back = apply_affine(np.linalg.inv(np.vstack([view.matrix, [0, 0, 1]]))[:2], inside) + self.error
        points = torch.from_numpy(back)
        # The last kind is right, the first one is far off.
        return {
            kind: People(
                points + 500.0 * (number < len(self.kinds) - 1),
                torch.full(points.shape[:2], 0.5),
                torch.linspace(0.1, 0.9, max(len(points), 1))[: len(points)],
            )
            for number, kind in enumerate(self.kinds)
        }


def experiment(root: Path, layout: str, **changes: Any) -> BottomUpConfig:
    skeleton, split = SPLITS[layout]
    data = {"layout": layout, "root": str(root / layout), "skeleton": skeleton, "train": split, "val": split}
    return BottomUpConfig(
        method="knowing",
        data=DataConfig(**{**data, **changes.pop("data", {})}),
        model=ModelConfig(name="simplebaseline_resnet18", input_size=(64, 64), init="framework",
                          options={"width": 8, "filters": [16, 16, 16]}),
        train=TrainConfig(workers=0, batch_size=2),
        test=WholeTestConfig(workers=changes.pop("workers", 0)),
    )  # fmt: skip


def knowing(config: BottomUpConfig) -> Knowing:
    predictor = Knowing(nn.Conv2d(3, 1, 1), config, get_skeleton(config.data.skeleton), CPU)
    found = read_dataset(config.data, config.data.train, keep_unlabeled=True)
    joints = len(predictor.skeleton.joints)
    predictor.people = {
        number: np.array([p.joints for p in record.persons if p.num_labeled]).reshape(-1, joints, 3)
        for number, record in enumerate(found.records)
    }
    return predictor


@pytest.mark.parametrize("layout", SPLITS)
@pytest.mark.parametrize("workers", [0, 2])
def test_perfect_predictions_score_one(layout: str, workers: int, crowds: Path, tmp_path: Path) -> None:
    config = experiment(crowds, layout, workers=workers)
    predictor = knowing(config)
    evaluation = evaluate_bottomup(predictor, config, tmp_path)
    assert evaluation.metrics["AP"] == pytest.approx(1)
    assert "boxes=none flip=yes decode=knowledge scales=1 evaluator=" in evaluation.report
    predictor.error = 6.0
    assert evaluate_bottomup(predictor, config, tmp_path).value < 0.9
    entries = json.loads((tmp_path / "results" / f"keypoints_{config.data.val}_results.json").read_text())
    points = np.array(entries[0]["keypoints"]).reshape(-1, 3)
    assert entries[0]["bbox"][2:] == pytest.approx(np.ptp(points[:, :2], axis=0).tolist())
    assert set(points[:, 2]) == {0.5}
    truth = predictor.people[0][-1]
    assert np.allclose(points[:, :2], truth[:, :2] + 6, atol=1e-4), "the best comes first"


def test_a_killed_loader_of_an_evaluation_is_explained(
    crowds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(crowds, "coco", workers=1)
    predictor = knowing(config)
    monkeypatch.setattr(predictor, "find", kill_loaders)
    with pytest.raises(DataError, match=EXPLAINED):
        evaluate_bottomup(predictor, config, tmp_path)


def test_several_kinds_of_results_have_a_file_each_and_the_last_counts(crowds: Path, tmp_path: Path) -> None:
    config = experiment(crowds, "coco")
    predictor = knowing(config)
    predictor.kinds = ("regression", "final")
    evaluation = evaluate_bottomup(predictor, config, tmp_path)
    assert evaluation.results == tmp_path / "results" / "keypoints_train2017_final_results.json"
    assert evaluation.value == pytest.approx(1)
    names = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert names == ["keypoints_train2017_final_results.json", "keypoints_train2017_regression_results.json"]
    assert evaluation.report.index("(regression)") < evaluation.report.index("(final)")
    image = np.full((80, 96, 3), 20, np.uint8)
    assert np.allclose(predictor.predict_image(image).keypoints[-1], predictor.people[0][0][:, :2], atol=1e-4)


def test_no_detections_score_zero(crowds: Path, tmp_path: Path) -> None:
    for layout in SPLITS:
        config = experiment(crowds, layout)
        predictor = knowing(config)
        predictor.people = {}
        assert evaluate_bottomup(predictor, config, tmp_path).value == 0
        assert len(predictor.predict_image(np.zeros((80, 96, 3), np.uint8))) == 0


def test_test_dev_leaves_a_file_for_the_server(crowds: Path, tmp_path: Path) -> None:
    config = experiment(crowds, "coco", data={"val": "test-dev2017"})
    evaluation = evaluate_bottomup(knowing(config), config, tmp_path)
    assert "nothing to score here" in evaluation.report
    assert (tmp_path / "results/keypoints_test-dev2017_results.json").is_file()


def test_a_bad_image_stops_or_is_counted(crowds: Path, tmp_path: Path) -> None:
    shutil.copytree(crowds / "crowdpose", tmp_path / "crowdpose")
    config = experiment(tmp_path, "crowdpose")
    picture = Path(read_dataset(config.data, "train").records[0].source)
    predictor = knowing(config)
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(DataError, match=f"{picture.name} does not decode"):
        evaluate_bottomup(predictor, config, tmp_path)
    config = experiment(tmp_path, "crowdpose", data={"on_bad_image": "skip"})
    evaluation = evaluate_bottomup(predictor, config, tmp_path)
    assert 0 < evaluation.value < 1
    assert "skipped: 1 image missing" in evaluation.report
    for record in read_dataset(config.data, "train").records[:3]:
        Path(record.source).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 of \d+ samples had to be skipped.*data\.max_skipped=0\.1"):
        evaluate_bottomup(predictor, config, tmp_path)


def test_annotations_without_a_crowd_index_are_refused_before_anything_is_predicted(
    crowds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(crowds / "crowdpose", tmp_path / "crowdpose")
    config = experiment(tmp_path, "crowdpose")
    predictor = knowing(config)
    file = tmp_path / "crowdpose/json/crowdpose_train.json"
    content = json.loads(file.read_text())
    del content["images"][1]["crowdIndex"]
    file.write_text(json.dumps(content))
    monkeypatch.setattr(predictor, "find", None)
    with pytest.raises(DataError, match=rf"{file.name}: image {content['images'][1]['id']} has no 'crowdIndex'"):
        evaluate_bottomup(predictor, config, tmp_path)


def test_layouts_without_a_protocol_are_refused(crowds: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "mpii", layout="mpii", images=2, val_images=2, people=(1, 1), size=(96, 80))
    data = {"layout": "mpii", "root": str(tmp_path / "mpii"), "skeleton": "mpii16", "val": "valid"}
    config = experiment(crowds, "coco", data=data)
    predictor = Knowing(nn.Conv2d(3, 1, 1), config, get_skeleton("mpii16"), CPU)
    with pytest.raises(ConfigError, match=r"data\.layout=mpii has no protocol for whole images"):
        evaluate_bottomup(predictor, config, tmp_path)


def test_only_chosen_images_are_looked_at_and_scored(crowds: Path, tmp_path: Path) -> None:
    config = experiment(crowds, "coco")
    predictor = knowing(config)
    missing = dict(predictor.people)
    predictor.people = {1: missing[1], 3: missing[3]}
    assert evaluate_bottomup(predictor, config, tmp_path).value < 1
    evaluation = evaluate_bottomup(predictor, config, tmp_path, lambda found: [found.records[1], found.records[3]])
    assert evaluation.image_ids is not None
    assert len(evaluation.image_ids) == 2
    assert evaluation.value == pytest.approx(1)
    entries = json.loads((tmp_path / "results/keypoints_train2017_results.json").read_text())
    ids = [record.image_id for record in read_dataset(config.data, "train2017", keep_unlabeled=True).records]
    assert {entry["image_id"] for entry in entries} == {ids[1], ids[3]}


class KnowingTask(BottomUpTask):
    """The minimum that a method must define."""

    output_sizes = (16,)  # type: ignore[assignment]

    def objective(self, device: torch.device) -> Objective:
        raise AssertionError("nothing is learned here")

    def predictor(self, network: nn.Module, device: torch.device) -> BottomUpPredictor:
        return knowing(self.config)


@pytest.mark.parametrize("layout", SPLITS)
def test_annotations_are_read_again_only_if_they_have_changed(
    layout: str, crowds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(crowds / layout, tmp_path / layout)
    task = KnowingTask(experiment(tmp_path, layout), build_network)
    file = read_dataset(task.config.data, task.config.data.val).annotation_file
    os.utime(file, (1e9, 1e9))
    predictor = knowing(task.config)
    monkeypatch.setattr(task, "predictor", lambda network, device: predictor)
    parsed: list[int] = []
    read = coco_file.stream_json
    monkeypatch.setattr(coco_file, "stream_json", lambda *given, **options: parsed.append(1) or read(*given, **options))
    first = task.evaluate(task.networks(), CPU, tmp_path)
    assert len(parsed) == 2, "once for the images, once for scoring"
    assert task.evaluate(task.networks(), CPU, tmp_path) == first
    assert len(parsed) == 2
    content = json.loads(file.read_text())
    content["annotations"][0]["keypoints"][0::3] = [-1000] * (len(content["annotations"][0]["keypoints"]) // 3)
    file.write_text(json.dumps(content))
    assert task.evaluate(task.networks(), CPU, tmp_path).value < first.value


def test_a_task_gives_networks_data_and_figures(crowds: Path, tmp_path: Path) -> None:
    task = KnowingTask(experiment(crowds, "coco"), build_network)
    data = task.training_set()
    assert isinstance(data, BottomUpDataset)
    assert data is task.training_set()
    assert data[0].joints.shape[2:] == (17, 3)
    assert len(task.networks()) == 1
    assert data.groups is None
    assert task.evaluate(task.networks(), CPU, tmp_path).value == pytest.approx(1)


def test_boxes_are_not_taken(crowds: Path) -> None:
    predictor = Predictor(knowing(experiment(crowds, "coco")))
    with pytest.raises(ConfigError, match="finds people by itself"):
        predictor(np.zeros((80, 96, 3), np.uint8), np.zeros((1, 4)))
