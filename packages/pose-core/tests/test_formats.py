"""Annotation formats: written as documented, and the same people after a round trip."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose_core.config import DataConfig
from pose_core.errors import DataError
from pose_core.evaluation.keypoint_files import read_ground_truth
from pose_core.layouts.formats.coco import write_coco
from pose_core.layouts.formats.label_studio import write_tasks
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord, Person
from pose_core.synthetic import write_dataset

COCO17 = get_skeleton("coco17")


def read(root: Path, layout: str, split: str, skeleton: str) -> tuple[ImageRecord, ...]:
    config = DataConfig(layout=layout, root=str(root), train=split, skeleton=skeleton)
    return read_dataset(config, split, keep_unlabeled=True).records


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("formats") / "coco"
    write_dataset(root, layout="coco", images=6, val_images=2, people=(1, 3), size=(160, 120), crowds=True)
    return root


def as_read(records: tuple[ImageRecord, ...]) -> list[tuple[object, ...]]:
    """Return what must stay the same, to compare."""
    return [
        (r.image_id, r.width, r.height, p.annotation_id, p.joints.tolist(), p.stated_box, p.area, p.is_crowd)
        for r in records
        for p in r.persons
    ]


def test_coco_is_read_back_as_it_was_written(coco: Path) -> None:
    before = read(coco, "coco", "train2017", "coco17")
    assert any(r.ignore for r in before)
    write_coco(before, COCO17, coco / "annotations" / "again.json", images=coco / "images" / "train2017")
    (coco / "images" / "again").symlink_to("train2017")
    again = read(coco, "coco", "again.json", "coco17")
    assert as_read(again) == as_read(before)
    assert [r.ignore for r in again] == [r.ignore for r in before]
    content = json.loads((coco / "annotations" / "again.json").read_text())
    assert content["categories"][0]["skeleton"][0] == [COCO17.limbs[0][0] + 1, COCO17.limbs[0][1] + 1]
    assert content["images"][0]["file_name"] == Path(before[0].source).name
    read_ground_truth(coco / "annotations" / "again.json", 17, skeleton=COCO17)  # evaluation accepts it


def test_sizes_that_records_lack_are_those_of_the_images(coco: Path, tmp_path: Path) -> None:
    records = [replace(record, width=0, height=0) for record in read(coco, "coco", "val2017", "coco17")]
    write_coco(records, COCO17, tmp_path / "a.json", scores=True)
    content = json.loads((tmp_path / "a.json").read_text())
    assert {(image["width"], image["height"]) for image in content["images"]} == {(160, 120)}
    assert {annotation["score"] for annotation in content["annotations"]} == {1}


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    records = [ImageRecord(n, f"{folder}/1.jpg", width=9, height=9) for n, folder in enumerate("ab")]
    with pytest.raises(DataError, match=r"images a/1\.jpg and b/1\.jpg would both be named '1\.jpg'"):
        write_coco(records, COCO17, tmp_path / "a.json")


def test_label_studio_tasks_are_as_documented(tmp_path: Path) -> None:
    joints = np.zeros((17, 3), np.float32)
    joints[0] = 50, 25, 2
    joints[5] = 20, 80, 1
    person = Person(joints, 7, stated_box=(10, 20, 100, 60), score=0.25)
    record = ImageRecord(3, str(tmp_path / "images" / "a b.jpg"), (person,), width=200, height=100)
    write_tasks([record], COCO17, tmp_path / "tasks.json", images=tmp_path)
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=images/a%20b.jpg"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.25
    box, nose, shoulder, hidden = prediction["result"]
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    assert size.items() <= box.items()
    assert box["type"] == "rectanglelabels"
    assert box["value"] == {"x": 5, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["person"]}
    assert nose["type"] == "keypointlabels"
    assert nose["parentID"] == box["id"]
    assert nose["value"] == {"x": 25, "y": 25, "width": 0.6, "keypointlabels": ["nose"]}
    assert (hidden["type"], hidden["id"]) == ("choices", shoulder["id"])
    assert hidden["value"]["choices"] == ["hidden"]
    names = {"person", "joints", "state"}
    config = ET.fromstring((tmp_path / "tasks.xml").read_text())
    assert {control.get("name") for control in config if control.get("toName") == "image"} == names
    assert [label.get("value") for label in config.iter("Label")] == ["person", *COCO17.joints]
    assert [label.get("model_index") for label in config.iter("Label")] == [None, *map(str, range(17))]
