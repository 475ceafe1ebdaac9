"""CrowdPose: COCO's rules without an area, and the crowd index."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_core.config import DataConfig
from pose_core.errors import DataError
from pose_core.layouts.reader import read_dataset
from pose_testing.annotations import coco_content, person, write_image, write_json


def write(root: Path, joints: int = 14) -> DataConfig:
    content = coco_content(images=2, people=0)
    content["annotations"] = [person(5, 1, joints), person(6, 2, joints), person(7, 2, joints, keypoints=[0] * 42)]
    for annotation in content["annotations"]:
        del annotation["area"]
    for image, index in zip(content["images"], (0.25, 0.75), strict=True):
        image |= {"file_name": f"{image['id']}.jpg", "crowdIndex": index}
        write_image(root / "images" / image["file_name"])
    write_json(root / "json" / "crowdpose_trainval.json", content)
    return DataConfig(layout="crowdpose", root=str(root), skeleton="crowdpose14")


def test_people_need_no_area(tmp_path: Path) -> None:
    found = read_dataset(write(tmp_path), "trainval")
    assert [record.crowd_index for record in found.records] == [0.25, 0.75]
    assert [[p.annotation_id for p in record.persons] for record in found.records] == [[5], [6]]
    assert found.records[0].persons[0].area == pytest.approx(0.53 * 30 * 40)
    assert found.records[0].source.endswith("images/1.jpg")
    assert found.has_annotations


def test_images_without_a_file_name_are_named_by_their_plain_id(tmp_path: Path) -> None:
    config = write(tmp_path)
    content = coco_content(images=1, people=0)
    del content["images"][0]["file_name"]
    write_json(tmp_path / "json" / "crowdpose_test.json", content)
    assert read_dataset(config, "test").records[0].source.endswith("images/1.jpg")


def test_wrong_joint_count_names_file_and_person(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"crowdpose_trainval\.json: annotation 5: 51 keypoint numbers.* 14 joints"):
        read_dataset(write(tmp_path, joints=17), "trainval")
