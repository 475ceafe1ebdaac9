"""Detectors of people: by name from a web server or a mirror, of a file, of an annotation, and none."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torchvision.models import get_model

from pose_core.config import DataConfig
from pose_core.errors import ConfigError, DataError, PoseError, WeightsError
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.predictors import Predictor
from pose_core.synthetic import write_dataset
from pose_core.topdown.detectors import (
    AnnotatedBoxes,
    build_detector,
    default_detector,
    find_detector,
    known_detectors,
    whole_image,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weights with which Faster R-CNN takes many places for a person, as torchvision's servers have them."""
    torch.manual_seed(0)
    network = get_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights=None, weights_backbone=None)
    with torch.no_grad():
        head = network.roi_heads.box_predictor.cls_score
        head.weight.zero_()
        head.bias.fill_(-9)
        head.bias[1] = -4
    file = tmp_path_factory.mktemp("published") / "detector.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture
def own(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make these weights the default detector, and the cache an empty folder, which is returned."""
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    table = tmp_path / "detectors.csv"
    table.write_text(
        "name,network,url,sha256,metric\n"
        f"ours,fasterrcnn_mobilenet_v3_large_320_fpn,{published},{digest[:8]},box AP 1\n"
    )
    monkeypatch.setenv("POSE_DETECTORS", str(table))
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_every_known_detector_is_one_of_torchvision() -> None:
    known = known_detectors()
    assert default_detector() == "fasterrcnn_mobilenet"
    assert {"fasterrcnn_resnet50", "fasterrcnn_resnet50_v2", "fasterrcnn_mobilenet_320", "ssdlite"} < set(known)
    for name, about in known.items():
        assert find_detector(name) == find_detector(about.network) == about
        assert about.url.startswith("https://download.pytorch.org/models/")
        assert about.url.endswith(f"{about.sha256}.pth")
        assert about.license == "BSD-3-Clause"
        with torch.device("meta"):
            get_model(about.network, weights=None, weights_backbone=None)


def test_a_detector_is_stored_once_and_finds_people(own: Path) -> None:
    detector = build_detector(device="cpu")
    stored = list(own.rglob("*.safetensors"))
    assert len(stored) == 1
    assert json.loads(stored[0].with_suffix(".json").read_text())["metric"] == "box AP 1"
    boxes, scores = detector(IMAGE)
    assert len(boxes) == len(scores) > 0
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [80.01, 60.01]).all()
    assert (scores >= 0.5).all()
    picky, _ = build_detector("ours", device="cpu", threshold=0.99)(IMAGE)
    assert len(picky) == 0


def test_a_predictor_builds_the_default_detector_once(
    own: Path, make_predictor: Callable[[], Predictor], capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = make_predictor()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = predictor(IMAGE)
        second = predictor(IMAGE)
    assert len(first) > 0
    assert first == second
    assert capsys.readouterr().err.count("people are found by ours") == 1
    assert predictor(IMAGE, detector="ours") == first
    with pytest.raises(ConfigError, match="no detector is named 'our'; did you mean ours"):
        predictor(IMAGE, detector="our")


def test_without_a_detector_a_whole_image_is_one_person_after_a_warning(
    tmp_path: Path, make_predictor: Callable[[], Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSE_HOME", str(tmp_path))
    monkeypatch.setenv("POSE_OFFLINE", "1")
    predictor = make_predictor()
    with pytest.warns(UserWarning, match=r"each whole image is taken as one person.*POSE_OFFLINE") as caught:
        poses = predictor(IMAGE)
    assert caught[0].filename == __file__, "the warning points to the caller"
    assert poses.boxes is not None
    assert poses.boxes.tolist() == [[8, 6, 64, 48]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(predictor(IMAGE)) == 1
        assert make_predictor()(IMAGE, detector="whole") == poses
    with pytest.raises(PoseError, match="POSE_OFFLINE"):
        predictor(IMAGE, detector="ssdlite")


def test_one_image_gives_poses_a_list_a_list_and_a_generator_an_iterator(
    tmp_path: Path, make_predictor: Callable[[], Predictor]
) -> None:
    predictor = make_predictor()
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), IMAGE)
    one = predictor(file, detector="whole")
    assert (one.size, one.source) == ((80, 60), str(file))
    assert one.image is not None
    several = predictor([file, IMAGE, file.read_bytes()], detector="whole")
    assert several == [one] * 3
    assert several[0].image is None, "a file is read again"
    assert several[0].draw().shape == IMAGE.shape
    assert several[1].image is IMAGE
    stream = predictor((file for _ in range(3)), detector=whole_image)
    assert not isinstance(stream, list)
    assert list(stream) == [one] * 3
    boxes = [np.array([[1.0, 2, 3, 4]]), np.zeros((0, 4))]
    assert [len(poses) for poses in predictor([IMAGE, IMAGE], boxes)] == [1, 0]
    with pytest.raises(DataError, match="more images than arrays of boxes"):
        predictor([IMAGE, IMAGE, IMAGE], boxes)
    with pytest.raises(DataError, match=r"cannot be a builtins\.int"):
        predictor([1, 2], detector="whole")  # type: ignore[list-item]
    with file.open("rb") as opened, pytest.raises(DataError, match=r"open file; give its path"):
        predictor(opened, detector="whole")
    with pytest.raises(DataError, match=r"cannot be a builtins\.dict"):
        predictor({}, detector="whole")  # type: ignore[call-overload]


def test_wrong_weights_and_tables_are_named(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"wrong\.pth does not fit torchvision's ssdlite320"):
        build_detector("ssdlite", weights=tmp_path / "wrong.pth", device="cpu")
    table = tmp_path / "detectors.csv"
    table.write_text(table.read_text().replace(",box AP 1", "").replace("detector.pth,", "detector.pth,0"))
    with pytest.raises(PoseError, match="is not the expected file: its SHA-256 is"):
        build_detector(device="cpu")
    assert not list(own.rglob("*.safetensors"))
    table.write_text("name,network,url\na,,b.pth\n")
    with pytest.raises(ConfigError, match=r"detectors\.csv, line 2: 'name', 'network' and 'url' are needed"):
        build_detector(device="cpu")
    monkeypatch.setenv("POSE_DETECTORS", str(tmp_path / "gone.csv"))
    with pytest.raises(ConfigError, match=r"gone\.csv cannot be read"):
        build_detector(device="cpu")


def test_annotated_boxes_are_those_of_the_split(tmp_path: Path) -> None:
    write_dataset(tmp_path, layout="coco", images=2, val_images=3, people=(1, 3), size=(160, 120))
    data = DataConfig(root=str(tmp_path))
    detector = AnnotatedBoxes(data, "val2017")
    for record in read_dataset(data, "val2017").records:
        boxes, scores = detector(IMAGE, Path(record.source))
        assert boxes.tolist() == [list(person.box or ()) for person in record.persons]
        assert scores.tolist() == [1] * len(record.persons)
    stranger = next((tmp_path / "images" / "train2017").iterdir())
    with pytest.raises(DataError, match=rf"{stranger.name} has no annotated people in the split val2017"):
        detector(IMAGE, stranger)
