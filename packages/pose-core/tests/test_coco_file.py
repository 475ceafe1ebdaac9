"""COCO-style files: training and evaluation refuse the same entries, in one line that names file, place and fault."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.config import DataConfig
from pose_core.data.coco_file import check_coco, read_coco_file
from pose_core.data.diagnostics import Problems
from pose_core.errors import DataError
from pose_core.evaluation.coco import coco_keypoint_ap
from pose_core.layouts.check import check_dataset
from pose_core.layouts.reader import read_dataset
from pose_core.skeleton import SKELETONS
from pose_testing.annotations import coco_content, person, write_coco

COCO = SKELETONS["coco17"]


def entry(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][2].update(changes)


def image(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][1].update(changes)


def points(value: object) -> Callable[[dict[str, Any]], None]:
    def damage(content: dict[str, Any]) -> None:
        content["annotations"][2]["keypoints"][4] = value

    return damage


def region(segmentation: object) -> Callable[[dict[str, Any]], None]:
    return entry(iscrowd=1, num_keypoints=0, keypoints=[0] * 51, segmentation=segmentation)


def put(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[key].append(value)


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an image id with a fraction": (entry(image_id=1.7), "annotation 20: it has the image_id 1.7, which is not an int"),
    "an image id as text": (entry(image_id="1"), "annotation 20: it has the image_id '1', which is not an integer"),
    "an image id that is true": (entry(image_id=True), "annotation 20: it has the image_id True"),
    "an image id of 30 digits": (entry(image_id=10**30), "annotation 20: it has the image_id 1000000"),
    "an image of another file": (entry(image_id=77), "annotation 20: image_id 77 is not among the 2 images"),
    "an annotation id as text": (entry(id="20"), "entry 2 of 'annotations' has no integer 'id'"),
    "an annotation id that is true": (entry(id=True), "entry 2 of 'annotations' has no integer 'id'"),
    "an annotation that is a list": (put("annotations", [1]), "entry 4 of 'annotations' has no integer 'id'"),
    "a repeated annotation": (entry(id=10), "annotation 10: two annotations have this id; give each its own"),
    "a category as text": (entry(category_id="1"), "annotation 20: it has the category_id '1'"),
    "a repeated image": (image(id=1), "two images have the id 1; give each its own"),
    "an image that is null": (put("images", None), "entry 2 of 'images' has no integer 'id'"),
    "a width of a kilometer": (image(width=10**7), "image 2 has no positive integer 'width' and 'height' of at most"),
    "a file name that is a number": (image(file_name=7), "image 2: the 'file_name' .*7.* is not text"),
    "a file name that leads out": (image(file_name="../x.jpg"), r"image 2: the 'file_name' '\.\./x\.jpg' leads out"),
    "a crowd index of 2": (image(crowdIndex=2), "image 2 has the 'crowdIndex' 2, which is not a number from 0 to 1"),
    "a coordinate that is infinite": (points(math.inf), "annotation 20: 'keypoints' holds a coordinate that is not a"),
    "a coordinate far away": (points(1e9), "annotation 20: 'keypoints' holds a coordinate that is not a finite number"),
    "a coordinate as text": (points("5"), "annotation 20: 'keypoints' holds a value that is not a finite number"),
    "a coordinate that is true": (points(True), "annotation 20: 'keypoints' holds a value that is not a finite number"),
    "a coordinate that is a list": (points([5]), "annotation 20: 'keypoints' holds a value that is not a finite"),
    "a visibility of 3": (entry(keypoints=[3] * 51), "annotation 20: 'keypoints' holds a visibility that is not 0, 1"),
    "a box that is not finite": (entry(bbox=[1, 2, math.nan, 3]), "annotation 20: 'bbox' holds a value that is not a"),
    "a box of the size of a country": (entry(bbox=[1, 2, 1e12, 3]), "annotation 20: 'bbox' holds a value that is not"),
    "a box of texts": (entry(bbox=["1", "2", "3", "4"]), "annotation 20: a person needs a 'bbox' of four numbers"),
    "an area below zero": (entry(area=-5), "annotation 20: 'area' is -5, expected a number from 0 to 1e\\+12"),
    "an infinite area": (entry(area=math.inf), "annotation 20: 'area' is inf, expected a number"),
    "a count that lies": (entry(num_keypoints=3), "annotation 20: 'num_keypoints' is 3, but 17 joints are labeled"),
    "a count of nothing": (entry(num_keypoints=0), "annotation 20: 'num_keypoints' is 0, but 17 joints are labeled"),
    "a count of too many": (
        entry(num_keypoints=18),
        "annotation 20: 'num_keypoints' is 18, expected an integer from 0",
    ),
    "a crowd of two": (entry(iscrowd=2), "annotation 20: 'iscrowd' is 2, expected 0 or 1"),
    "a polygon of texts": (region([["1", "2", "3", "4"]]), "annotation 20: 'segmentation' is neither polygons of at"),
    "a polygon far outside": (region([[0, 0, 1e9, 0, 0, 1e9]]), "annotation 20: 'segmentation' is neither polygons"),
    "an odd polygon": (region([[1, 2, 3, 4, 5]]), "annotation 20: 'segmentation' is neither polygons"),
    "a polygon that is not finite": (region([[1, 2, math.nan, 4]]), "annotation 20: 'segmentation' is neither"),
    "a mask of a country": (
        region({"size": [10**6, 10**6], "counts": [0]}),
        "annotation 20: 'segmentation' is neither",
    ),
    "a mask of another size": (region({"size": [4, 4], "counts": [0, 17]}), "annotation 20: 'segmentation' is neither"),
    "a category without an id": (put("categories", {"name": "dog"}), "entry 1 of 'categories' has no integer 'id'"),
    "a repeated category": (put("categories", {"id": 1}), "two categories have the id 1; give each its own"),
    "another order of joints": (
        lambda content: content["categories"][0].update(keypoints=sorted(COCO.joints)),
        "category 'person' holds the joints of skeleton 'coco17' in another order",
    ),
    "annotations that are no list": (lambda content: content.update(annotations={}), "'annotations'"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_training_and_evaluation_refuse_the_same(tmp_path: Path, kind: str) -> None:
    content = coco_content()
    file = write_coco(tmp_path, content)
    coco_keypoint_ap(file, [])
    damage, message = FAULTS[kind]
    damage(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as training:
        read_dataset(DataConfig(root=str(tmp_path)), "train2017")
    with pytest.raises(DataError, match=message) as evaluation:
        coco_keypoint_ap(file, [])
    for caught in (training, evaluation):
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_check_lists_every_fault_in_one_pass(tmp_path: Path) -> None:
    content = coco_content(images=3, people=3)
    file = write_coco(tmp_path, content)
    changes = ({"image_id": "1"}, {"iscrowd": 5}, {"bbox": None}, {"area": -1}, {"num_keypoints": 4}, {"id": 10})
    for annotation, change in zip(content["annotations"][1:], changes, strict=False):
        annotation.update(change)
    content["annotations"].insert(0, "person")
    file.write_text(json.dumps(content))
    report = check_dataset("coco", tmp_path, ["train2017"])
    (split,) = report.splits
    assert split.problems.stopping == {"bad annotation": 6, "repeated id": 1}
    assert split.persons == 3
    assert "entry 0 of 'annotations' has no integer 'id'" in str(report)


def test_whole_numbers_may_have_a_point(tmp_path: Path) -> None:
    content = coco_content()
    file = write_coco(tmp_path, content)
    plain = read_coco_file(file, Problems(), 17, COCO)
    content["annotations"][2].update(id=20.0, image_id=2.0, category_id=1.0)
    file.write_text(json.dumps(content))
    pointed = read_coco_file(file, Problems(), 17, COCO)
    assert pointed.ids.tolist() == plain.ids.tolist()
    assert pointed.image.tolist() == plain.image.tolist()


def test_crowdpose_counts_fewer_joints_than_it_labels(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][2]["num_keypoints"] = 5
    for each in content["images"]:
        each["crowdIndex"] = 0.5
    assert len(read_coco_file(write_coco(tmp_path, content), Problems(), 17, COCO).ids) == 4


def test_a_crowd_without_joints_and_other_categories_pass(tmp_path: Path) -> None:
    crowd = person(90, 1, iscrowd=1, num_keypoints=0)
    del crowd["keypoints"]
    content = coco_content(images=1, people=1)
    content["annotations"] += [crowd, {"id": 91, "image_id": 1, "category_id": 2, "bbox": "none"}]
    found = check_coco(content, tmp_path / "x.json", Problems(), 17, COCO)
    assert found.ids.tolist() == [10, 90]
    assert found.crowd.tolist() == [False, True]
    assert not found.joints[1].any()


def test_a_person_without_labels_may_have_no_keypoints(tmp_path: Path) -> None:
    content = coco_content(images=2, people=2)
    results = [
        {"image_id": one["image_id"], "category_id": 1, "score": 0.5, "keypoints": list(one["keypoints"])}
        for one in content["annotations"]
    ]
    content["annotations"][1].update(keypoints=[0] * 51, num_keypoints=0)
    before = coco_keypoint_ap(content, results)
    content["annotations"][1]["keypoints"] = []
    assert coco_keypoint_ap(content, results) == before
    assert coco_keypoint_ap(write_coco(tmp_path, content), results) == before
    content["annotations"][1]["num_keypoints"] = 3
    with pytest.raises(DataError, match="0 keypoint numbers"):
        coco_keypoint_ap(write_coco(tmp_path, content), results)


def test_a_list_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    text = json.dumps(coco_content())
    file = tmp_path / "twice.json"
    file.write_text(text[:-1] + ', "annotations": []}')
    with pytest.raises(DataError, match=r"twice\.json has a list 'images' or 'annotations' twice; remove one"):
        read_coco_file(file, Problems(), 17, COCO)


def test_a_file_and_its_content_score_the_same(tmp_path: Path) -> None:
    content = coco_content(images=4, people=3)
    rng = np.random.default_rng(0)
    results = [
        {"image_id": one["image_id"], "category_id": 1, "score": float(rng.random()),
         "keypoints": (np.array(one["keypoints"]) + rng.normal(0, 2, 51)).tolist()}
        for one in content["annotations"]
    ]  # fmt: skip
    file = write_coco(tmp_path, content)
    assert coco_keypoint_ap(file, results) == coco_keypoint_ap(content, results)
    assert 0 < coco_keypoint_ap(file, results)["AP"] < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "1"}, "entry 1 has '1' as 'image_id', which is not an integer"),
        ({"image_id": 1.5}, r"entry 1 has 1\.5 as 'image_id', which is not an integer"),
        ({"image_id": True}, "entry 1 has True as 'image_id'"),
        ({"score": "0.5"}, r"entry 1 has '0\.5' as 'score', which is not a number"),
        ({"score": True}, "entry 1 has True as 'score'"),
        ({"keypoints": ["1"] * 51}, "entry 1 has .* as 'keypoints', which is not numbers"),
        ({"keypoints": [1e12] * 51}, r"dets\.json: entry 1 has a coordinate beyond 1000000000 pixels"),
        ({"category_id": None}, "entry 1 has None as 'category_id'"),
    ],
)
def test_results_of_the_wrong_types_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = coco_content()
    results = [{"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5} for _ in range(3)]
    results[1] |= change
    file = tmp_path / "dets.json"
    file.write_text(json.dumps(results))
    with pytest.raises(DataError, match=message):
        coco_keypoint_ap(content, file)


def test_objects_of_the_caller_may_hold_numpy_s_numbers() -> None:
    content = coco_content()
    for one in content["annotations"]:
        one.update(
            image_id=np.int64(one["image_id"]), area=np.float32(one["area"]), keypoints=np.array(one["keypoints"])
        )
    results = [{"image_id": np.int32(1), "keypoints": tuple(np.ones(51)), "score": np.float32(0.5)}]
    assert coco_keypoint_ap(content, results)["AP"] == 0
    content["images"].append(dict(content["images"][0]))
    with pytest.raises(DataError, match="the given ground truth: 2 images have the id 1; give each its own"):
        coco_keypoint_ap(content, results)
