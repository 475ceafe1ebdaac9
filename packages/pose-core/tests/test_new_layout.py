"""A new data set needs one file (``pose_testing.toy_layout``) and one row in the table; everything works with it."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_core.benchmark.accuracy import parse_place, put_on
from pose_core.bottomup.config import BottomUpConfig, WholeTestConfig
from pose_core.bottomup.evaluate import evaluate_bottomup
from pose_core.bottomup.predictor import BottomUpPredictor, People, View, Views
from pose_core.cli import main
from pose_core.config import DataConfig, ModelConfig, TrainConfig
from pose_core.geometry import box_to_center_scale
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import LAYOUTS
from pose_core.plugins.networks import build_network
from pose_core.skeleton import get_skeleton
from pose_core.topdown.config import CropTestConfig, TopDownConfig
from pose_core.topdown.evaluate import evaluate_topdown, score
from pose_core.topdown.scoring import CropResults
from pose_core.topdown.task import TopDownTask
from pose_testing.annotations import write_image
from pose_testing.toy_layout import TOY

CPU = torch.device("cpu")
MODEL = ModelConfig(name="simplebaseline_resnet18", input_size=(64, 64), options={"width": 8, "filters": [16, 16, 16]})
# The same person in every image.
BOX = (10.0, 4.0, 40.0, 60.0)
JOINTS = np.array([[12 + 2 * k, 60 - 4 * k, 2] for k in range(14)], np.float32)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a toy data set, and add its layout to the table."""
    monkeypatch.setitem(LAYOUTS, TOY.name, TOY)
    for split, images in (("learn", 3), ("hold", 2)):
        names = [f"{split}{number}.jpg" for number in range(images)]
        with (tmp_path / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([name, *BOX, *JOINTS.ravel().tolist()] for name in names)
        for name in names:
            write_image(tmp_path / "pictures" / name, 64, 80)
    return tmp_path


def data_of(root: Path) -> DataConfig:
    return DataConfig(layout="toy", root=str(root), skeleton=TOY.skeleton, train=TOY.train, val=TOY.val)


def crops(root: Path) -> TopDownConfig:
    test = CropTestConfig(batch_size=4, workers=0)
    return TopDownConfig(method="crops", data=data_of(root), model=MODEL, train=TrainConfig(workers=0), test=test)


def known(found: AnnotatedSet) -> CropResults:
    """Return the annotations as predictions."""
    count = len(found.records)
    center, scale = (np.array([value] * count, np.float32) for value in box_to_center_scale(BOX, 1.0))
    persons = [record.persons[0].annotation_id for record in found.records]
    images = [record.image_id for record in found.records]
    return CropResults(
        np.array([JOINTS] * count), center, scale, np.ones(count, np.float32), np.array(images), np.array(persons)
    )


def test_it_is_checked_browsed_and_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--layout", "toy", "--root", str(root), "--decode", "all"]) == 0
    told = capsys.readouterr().out
    assert "layout toy below" in told
    assert "<split>.csv" in told
    assert "3 images (3 present, 3 opened), 3 with people" in told
    assert main(["data", "browse", "--layout", "toy", "--root", str(root), "--out", str(root / "sheet.jpg")]) == 0
    assert (root / "sheet.jpg").stat().st_size > 1000
    found = read_dataset(data_of(root), TOY.train)
    assert (found.layout, found.num_persons, found.has_annotations) == (TOY, 3, True)
    np.testing.assert_array_equal(found.records[2].persons[0].joints, JOINTS)
    data = TopDownTask(crops(root), build_network).training_set()
    assert len(data) == 3
    assert data[(0, 0)].images.shape == (64, 64, 3)


def test_it_is_listed_and_errors_are_reported(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--help"]) == 0
    assert "lsp_mpii, toy (coco)" in " ".join(capsys.readouterr().out.split())
    assert main(["data", "check", "--root", str(root), "--layout", "toys"]) == 2
    assert "invalid choice: 'toys'" in capsys.readouterr().err
    (root / "hold.csv").write_text("hold0.jpg,1,2,3,4,5\n")
    assert main(["data", "check", "--layout", "toy", "--root", str(root)]) == 3
    assert "annotation 1: 1 numbers of joints" in capsys.readouterr().out


def test_crops_are_scored(root: Path, tmp_path: Path) -> None:
    config = crops(root)
    found = read_dataset(config.data, config.data.val)
    assert score(known(found), found, config, tmp_path, write=False).value == pytest.approx(1)
    torch.manual_seed(0)
    evaluation = evaluate_topdown(nn.Conv2d(3, 14, 8, 4, 2), config, CPU, tmp_path / "run")
    assert evaluation.report.splitlines()[-1].endswith("evaluator=toy AP")
    assert evaluation.value < 0.5
    assert (tmp_path / "run/results/keypoints_hold_results.json").is_file()


class Knowing(BottomUpPredictor):
    """A network that returns the person of every image, shifted by ``error`` pixels."""

    error = 0.0

    @property
    def views(self) -> Views:
        return lambda width, height: [View((width, height), np.eye(2, 3))]

    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        points = torch.from_numpy(JOINTS[None, :, :2] + self.error).double()
        return {"": People(points, torch.ones(1, 14), torch.ones(1))}


def test_whole_images_are_scored(root: Path, tmp_path: Path) -> None:
    config = BottomUpConfig(method="whole", data=data_of(root), model=MODEL, test=WholeTestConfig(workers=0))
    predictor = Knowing(nn.Conv2d(3, 1, 1), config, get_skeleton(TOY.skeleton), CPU)
    assert evaluate_bottomup(predictor, config, tmp_path).value == pytest.approx(1)
    predictor.error = 9.0
    assert evaluate_bottomup(predictor, config, tmp_path).value < 0.9
    # Only the images that a method chooses count.
    predictor.error = 0.0
    evaluation = evaluate_bottomup(predictor, config, tmp_path, lambda found: found.records[1:])
    assert evaluation.value == pytest.approx(1)


def test_the_benchmark_takes_it(root: Path) -> None:
    where = parse_place(f"toy:{root}")
    assert where == ("toy", str(root), "hold")
    assert put_on(crops(root), root, where).data == data_of(root)


def test_the_table_loads_no_network_library() -> None:
    heavy = ("torch", "cv2", "pydantic", "scipy")
    code = f"import sys; from pose_core.layouts.table import LAYOUTS; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
