"""The COCO reader: published rules, detections, custom joint sets, and every kind of bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.config import DataConfig
from pose_core.data.coco_file import check_coco
from pose_core.data.diagnostics import Problems
from pose_core.errors import ConfigError, DataError
from pose_core.geometry import box_to_center_scale
from pose_core.layouts.coco import clip_boxes, records_from_coco
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_core.structures import Person
from pose_core.topdown.detections import find_detections, read_detections
from pose_testing.annotations import coco_content, person, write_coco, write_image, write_json
from pose_testing.golden import load_golden

COCO = SKELETONS["coco17"]


def read(root: Path, split: str = "train2017", **settings: Any) -> tuple[list[Person], Problems]:
    found = read_dataset(DataConfig(root=str(root), **settings), split)
    return [person for record in found.records for person in record.persons], found.problems


def test_records_are_the_published_ones(tmp_path: Path) -> None:
    golden = load_golden("asda/functions")["coco_records"]
    annotations = [a | {"id": i, "image_id": 139} for i, a in enumerate(golden["annotations"])]
    problems = Problems()
    file = tmp_path / "x.json"
    content = check_coco({"images": [golden["image"]], "annotations": annotations}, file, problems, 17, COCO)
    (record,) = records_from_coco(content, file, Path("R/images/val2017"), "{:012d}.jpg", problems)
    # Two of the published records have a scale of zero; ours are skipped and counted instead.
    expected = [r for r in golden["records"] if r["scale"] != [0.0, 0.0]]
    assert problems.counts["zero-area person"] == 1 + len(golden["records"]) - len(expected)
    assert record.source == expected[0]["image"]
    assert len(record.persons) == len(expected)
    for ours, theirs in zip(record.persons, expected, strict=True):
        assert ours.box is not None
        center, scale = box_to_center_scale(ours.box, golden["aspect"])
        np.testing.assert_allclose(center, theirs["center"], rtol=1e-7)
        np.testing.assert_allclose(scale, theirs["scale"], rtol=1e-6)
        np.testing.assert_array_equal(ours.joints[:, :2], theirs["joints_xy"])
        np.testing.assert_array_equal(np.minimum(ours.joints[:, 2], 1), theirs["vis"])


def test_a_box_ends_on_its_last_pixel() -> None:
    boxes = np.array([(0, 0, 64, 48), (-5, -5, 20, 20), (70, 10, 20, 20)], np.float64)
    clipped = clip_boxes(boxes, np.full((3, 2), (64, 48)))
    assert clipped[:2].tolist() == [[0, 0, 63, 47], [0, 0, 19, 19]]
    assert np.isnan(clipped[2]).all()


def test_crowds_and_unlabeled_people_are_dropped_but_ignored_regions_kept(tmp_path: Path) -> None:
    region = [[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]]
    content = coco_content(images=1, people=1)
    content["annotations"] += [
        person(90, 1, iscrowd=1, segmentation={"counts": [1, 2], "size": [48, 64]}),
        person(91, 1, keypoints=[0] * 51, num_keypoints=0, segmentation=region),
        person(92, 1, category_id=2),
    ]
    write_coco(tmp_path, content)
    config = DataConfig(root=str(tmp_path))
    found = read_dataset(config, "train2017")
    assert [p.annotation_id for p in found.records[0].persons] == [10]
    assert not found.problems.counts
    everyone = read_dataset(config, "train2017", keep_unlabeled=True)
    assert everyone.records[0].ignore == ({"counts": [1, 2], "size": [48, 64]}, region)
    assert [(p.annotation_id, p.is_crowd) for p in everyone.records[0].persons] == [
        (10, False),
        (90, True),
        (91, False),
    ]


def test_images_without_people_are_kept_for_detections(tmp_path: Path) -> None:
    content = coco_content(images=3, people=1)
    content["annotations"] = content["annotations"][:1]
    write_coco(tmp_path, content)
    found = read_dataset(DataConfig(root=str(tmp_path)), "train2017")
    assert [len(record.persons) for record in found.records] == [1, 0, 0]
    assert (found.records[0].width, found.records[0].height) == (64, 48)


def test_test_splits_have_images_only(tmp_path: Path) -> None:
    content = coco_content(images=2, people=0)
    del content["annotations"]
    content["categories"] = [{"id": i, "name": str(i)} for i in range(1, 81)]
    write_json(tmp_path / "annotations" / "image_info_test-dev2017.json", content)
    for image in content["images"]:
        write_image(tmp_path / "images" / "test2017" / image["file_name"])
    found = read_dataset(DataConfig(root=str(tmp_path)), "test-dev2017")
    assert len(found.records) == 2
    assert not found.has_annotations
    assert found.records[0].source.endswith("images/test2017/000000000001.jpg")


def test_images_without_a_file_name_are_named_by_their_id(tmp_path: Path) -> None:
    content = coco_content(images=1)
    del content["images"][0]["file_name"]
    write_json(tmp_path / "annotations" / "person_keypoints_val2014.json", content)
    write_image(tmp_path / "images" / "val2014" / "COCO_val2014_000000000001.jpg")
    assert len(read(tmp_path, "val2014")[0]) == 2


def test_a_joint_set_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "hand.yaml").write_text("joints: [root, left_tip, right_tip]\nsigmas: [0.1, 0.1, 0.1]\n")
    content = coco_content(images=1, people=0)
    content["annotations"] = [person(1, 1, joints=3)]
    content["categories"] = [{"id": 1, "name": "hand", "keypoints": ["root", "left_tip", "right_tip"]}]
    write_coco(tmp_path, content)
    people, _ = read(tmp_path, skeleton=str(tmp_path / "hand.yaml"))
    assert people[0].joints.shape == (3, 3)
    with pytest.raises(DataError, match=r"'coco17' has 17 joints, but category 'hand' has 3; set data\.skeleton"):
        read(tmp_path)
    content["categories"][0]["keypoints"] = ["root", "right_tip", "left_tip"]
    write_coco(tmp_path, content)
    with pytest.raises(DataError, match=r"in another order \(root, right_tip, left_tip\)"):
        read(tmp_path, skeleton=str(tmp_path / "hand.yaml"))


STOPS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "wrong joint count": (lambda c: c["annotations"][2].update(keypoints=[1, 2, 2] * 16), r"annotation 20: 48 .* 17"),
    "no keypoints": (lambda c: c["annotations"][2].pop("keypoints"), r"annotation 20: no list 'keypoints'"),
    "not a number": (
        lambda c: c["annotations"][2].update(keypoints=["x"] * 51),
        r"annotation 20: .*not a finite number",
    ),
    "NaN": (
        lambda c: c["annotations"][2].update(keypoints=[float("nan")] * 51),
        r"annotation 20: .*not a finite number",
    ),
    "no box": (lambda c: c["annotations"][2].pop("bbox"), r"annotation 20: .*'bbox' of four numbers"),
    "short box": (lambda c: c["annotations"][2].update(bbox=[1, 2, 3]), r"annotation 20: .*'bbox' of four numbers"),
    "wide area": (lambda c: c["annotations"][2].update(area="wide"), r"annotation 20: .*'area'"),
    "unknown image": (lambda c: c["annotations"][2].update(image_id=987654), r"annotation 20: image_id 987654"),
    "repeated annotation": (lambda c: c["annotations"][2].update(id=10), r"annotation 10: .*two annotations"),
    "repeated image": (lambda c: c["images"][1].update(id=1), r"two images have the id 1"),
    "no image id": (lambda c: c["images"][1].pop("id"), r"entry 1 of 'images' has no integer 'id'"),
    "no size": (lambda c: c["images"][1].pop("width"), r"image 2 has no positive integer 'width'"),
    "no annotation id": (lambda c: c["annotations"][2].pop("id"), r"entry 2 of 'annotations' has no integer 'id'"),
    "no images": (lambda c: c.pop("images"), r"needs a list 'images'"),
}


@pytest.mark.parametrize("kind", STOPS)
def test_what_stops_names_file_and_annotation(tmp_path: Path, kind: str) -> None:
    damage, message = STOPS[kind]
    file = write_coco(tmp_path, coco_content())
    content = coco_content()
    damage(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert "person_keypoints_train2017.json" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("zero-area person", {"area": 0.0}),
        ("zero-area person", {"bbox": [5.0, 5.0, 0.5, 0.5]}),
        ("box outside the image", {"bbox": [100.0, 5.0, 20.0, 20.0]}),
    ],
)
def test_what_is_skipped_is_counted(tmp_path: Path, kind: str, change: dict[str, Any]) -> None:
    content = coco_content()
    content["annotations"][1].update(change)
    write_coco(tmp_path, content)
    people, problems = read(tmp_path)
    assert [p.annotation_id for p in people] == [10, 20, 21]
    assert problems.counts == {kind: 1}
    assert "annotation 11" in problems.summary()
    assert "person skipped" in problems.summary()


def test_a_box_that_leaves_the_image_is_clipped_and_counted(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][1].update(bbox=[30.0, 4.0, 100.0, 20.0])
    write_coco(tmp_path, content)
    people, problems = read(tmp_path)
    assert people[1].box == (30, 4, 33, 19)
    assert problems.counts == {"box clipped": 1}


def test_missing_and_malformed_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"person_keypoints_train2017\.json does not exist; the layout 'coco' expects"):
        read(tmp_path)
    file = write_coco(tmp_path, coco_content())
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match=r"train2017\.json is not valid JSON: line 1, column"):
        read(tmp_path)
    file.write_text("[]")
    with pytest.raises(DataError, match=r"train2017\.json is not a COCO annotation file"):
        read(tmp_path)


def test_missing_images_stop_or_are_skipped(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content())
    (tmp_path / "images" / "train2017" / "000000000002.jpg").unlink()
    with pytest.raises(DataError, match=r"000000000002\.jpg does not exist \(1 of 2 images"):
        read(tmp_path)
    people, problems = read(tmp_path, on_bad_image="skip")
    assert [p.annotation_id for p in people] == [10, 11]
    assert problems.counts == {"image missing": 1}


def test_detections_replace_people(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content())
    records = read_dataset(DataConfig(root=str(tmp_path)), "train2017").records
    box = [-3.0, 5.0, 20.5, 30.0]
    rows = [
        {"image_id": 2, "category_id": 1, "bbox": box, "score": 0.9},
        {"image_id": 2, "category_id": 1, "bbox": box, "score": 0.1},
        {"image_id": 2, "category_id": 3, "bbox": box, "score": 0.9},
        {"image_id": 77, "category_id": 1, "bbox": box, "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 0], "score": 0.9},
    ]
    file = write_json(tmp_path / "boxes.json", rows)
    problems = Problems()
    found = read_detections(file, records, 0.1, problems=problems)
    assert [len(record.persons) for record in found] == [0, 2]
    assert found[1].persons[0].box == tuple(box)
    assert found[1].persons[0].score == 0.9
    assert problems.counts == {"detections of other images": 1, "zero-area person": 1}
    assert len(read_detections(file, records, 0.2)[1].persons) == 1


def test_detections_of_another_split_are_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content())
    records = read_dataset(DataConfig(root=str(tmp_path)), "train2017").records
    file = write_json(tmp_path / "boxes.json", [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}])
    with pytest.raises(DataError, match="detections file of another split"):
        read_detections(file, records)
    file.write_text('[{"image_id": 1, "bbox": [0, 0, 1]}]')
    with pytest.raises(DataError, match=r"boxes\.json: entry 0"):
        read_detections(file, records)
    with pytest.raises(DataError, match=r"detections file .*gone\.json does not exist"):
        read_detections(tmp_path / "gone.json", records)


def test_detections_lie_here_or_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    below = write_json(tmp_path / "root" / "boxes.json", [])
    config = DataConfig(root="root", detections="boxes.json")
    assert find_detections(config).resolve() == below
    write_json(tmp_path / "boxes.json", [])
    assert find_detections(config).resolve() == tmp_path / "boxes.json"
    with pytest.raises(ConfigError, match=r"data\.detections"):
        find_detections(DataConfig())
