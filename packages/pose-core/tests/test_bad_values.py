"""Files of the right form with values that no such file has: one line that names the file, the place and the fault."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pose_core.config import DataConfig
from pose_core.data.category_skeleton import skeleton_file
from pose_core.data.numbers import is_number, number_list, whole_number
from pose_core.data.repeat_annotations import read_repeated
from pose_core.errors import DataError
from pose_core.evaluation.mpii import mpii_pckh
from pose_core.inference.result_files import read_frames, read_rows
from pose_core.layouts.reader import read_dataset
from pose_core.reading.printable import shown
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person
from pose_core.topdown.detections import read_detections
from pose_testing.annotations import coco_content, write_image, write_json

JOINTS = SKELETONS["coco17"].joints
RECORDS = (ImageRecord(1, "1.jpg"), ImageRecord(2, "2.jpg"))


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (7.0, 7), (np.int32(7), 7), (np.float64(7), 7), (True, None), ("7", None), (7.5, None), (None, None),
     (math.inf, None), (math.nan, None), (2**63, None), (1e300, None), ([7], None)],
)  # fmt: skip
def test_whole_numbers(value: object, number: int | None) -> None:
    assert whole_number(value) == number


def test_numbers() -> None:
    assert all(map(is_number, (1, -2.5, np.float32(3), 0)))
    assert not any(map(is_number, (True, "1", None, math.nan, math.inf, 10**400, [1], 1j)))
    assert number_list([1, 2.5], 2).tolist() == [1, 2.5]  # type: ignore[union-attr]
    assert all(number_list(values, 2) is None for values in ([1], [1, "2"], [1, math.nan], [1, 1e7], "12", None))
    assert len(shown("x" * 1000)) <= 100
    assert shown(10**5000) == "a value of type int that is too long to show"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "1"}, "entry 1: 'image_id' is '1', which is not an integer"),
        ({"image_id": 1.7}, r"entry 1: 'image_id' is 1\.7, which is not an integer"),
        ({"category_id": "person"}, "entry 1: 'category_id' is 'person', which is not an integer"),
        ({"bbox": [0, 0, math.inf, 1]}, "entry 1: 'bbox' must be four finite numbers within"),
        ({"bbox": [0, 0, 1e9, 1]}, "entry 1: 'bbox' must be four finite numbers within"),
        ({"bbox": ["0", "0", "1", "1"]}, "entry 1: 'bbox' must be four finite numbers within"),
        ({"score": "0.5"}, "entry 1: 'bbox' must be four finite numbers within .* 'score' one"),
        ({"score": math.nan}, "entry 1: 'bbox' must be four finite numbers within .* 'score' one"),
    ],
)
def test_detections(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
    with pytest.raises(DataError, match=rf"boxes\.json: {message}"):
        read_detections(write_json(tmp_path / "boxes.json", [good, good | change]), RECORDS)


def test_a_detection_with_a_negative_side_is_skipped(tmp_path: Path) -> None:
    entries = [{"image_id": 1, "bbox": box, "score": 1} for box in ([0, 0, 5, 5], [0, 0, -5, 5])]
    (first, _) = read_detections(write_json(tmp_path / "boxes.json", entries), RECORDS)
    assert [person.annotation_id for person in first.persons] == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": 7}, "a person needs 'image', 'center' \\[x, y\\] and 'scale'"),
        ({"center": ["1", "2"]}, "a person needs 'image', 'center' \\[x, y\\] and 'scale'"),
        ({"scale": True}, "a person needs 'image', 'center' \\[x, y\\] and 'scale'"),
        ({"scale": 1e9}, "scale 1e\\+09: a coordinate is not a finite number within"),
        ({"scale": -2.0}, "scale -2 is negative"),
        ({"joints": [["1", "2"]] * 16}, "'joints' must be pairs of finite numbers"),
        ({"joints": [[1, 1e30]] * 16}, "'joints' must be pairs of finite numbers"),
        ({"joints_vis": ["1"] * 16}, "'joints' must be pairs of finite numbers within .*, 'joints_vis' numbers"),
        ({"joints": 5}, "0 joints and 16 'joints_vis'"),
    ],
)
def test_mpii_s_json(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"image": "a.jpg", "center": [5.0, 5.0], "scale": 0.2, "joints": [[3.0, 4.0]] * 16, "joints_vis": [1] * 16}
    write_image(tmp_path / "images" / "a.jpg")
    config = DataConfig(layout="mpii", root=str(tmp_path), skeleton="mpii16")
    write_json(tmp_path / "annot" / "valid.json", [good, good])
    assert len(read_dataset(config, "valid").records[0].persons) == 2
    write_json(tmp_path / "annot" / "valid.json", [good, good | change])
    with pytest.raises(DataError, match=rf"valid\.json: annotation 1: .*{message}"):
        read_dataset(config, "valid")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("jnt_missing", 2.0, "'jnt_missing' holds values other than 0 and 1; fetch it again"),
        ("pos_gt_src", math.nan, "'pos_gt_src' holds a value that is not a finite number within"),
        ("headboxes_src", 1e30, "'headboxes_src' holds a value that is not a finite number within"),
    ],
)
def test_mpii_s_ground_truth(tmp_path: Path, field: str, value: float, message: str) -> None:
    content = {"jnt_missing": np.zeros((16, 2)), "pos_gt_src": np.ones((16, 2, 2)), "headboxes_src": np.ones((2, 2, 2))}
    content["headboxes_src"][1] = 9
    file = tmp_path / "gt_valid.mat"
    savemat(file, content)
    assert mpii_pckh(np.zeros((2, 16, 2)), file)["Mean"] == 100
    content[field].flat[0] = value
    savemat(file, content)
    with pytest.raises(DataError, match=rf"gt_valid\.mat: {message}"):
        mpii_pckh(np.zeros((2, 16, 2)), file)


@pytest.mark.parametrize(
    ("identity", "message"),
    [(-1, "joint id -1, but skeleton 'mpii16' has no such joint"), (16, "joint id 16"), (2.5, r"joint id 2\.5")],
)
def test_joints_of_mpii_s_release(tmp_path: Path, identity: float, message: str) -> None:
    point = {"x": 5.0, "y": 6.0, "id": identity}
    rect = {"objpos": {"x": 5.0, "y": 6.0}, "scale": 1.0, "annopoints": {"point": [point, point]}}
    images = [{"image": {"name": "a.jpg"}, "annorect": rect}] * 2
    write_image(tmp_path / "images" / "a.jpg")
    savemat(tmp_path / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": {"annolist": images, "img_train": [1, 1]}})
    with pytest.raises(DataError, match=rf"v1_u12_1\.mat is damaged at image 0: {message}.*; fetch it again"):
        read_dataset(DataConfig(layout="mpii", root=str(tmp_path), skeleton="mpii16"), "trainval")


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_lsp_s_joints(tmp_path: Path, value: float) -> None:
    joints = np.ones((3, 14, 4))
    joints[0, 1, 1] = value
    savemat(tmp_path / "joints.mat", {"joints": joints})
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"joints\.mat: annotation 2: a coordinate is not a finite number within"):
        read_dataset(DataConfig(layout="lsp", root=str(tmp_path), skeleton="lsp14"), "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "10"}, "entry 1 of 'annotations' has no integer 'id'"),
        ({"id": 10}, "annotation 10: two annotations have this id"),
        ({"keypoints": ["1"] * 51}, "annotation 11: 'keypoints' must be finite numbers"),
        ({"keypoints": [5] * 51}, "annotation 11: 'keypoints' must be finite numbers .* each third a 0, 1 or 2"),
        ({"area": "big"}, "annotation 11: 'area' is 'big', expected a number"),
        ({"area": math.inf}, "annotation 11: 'area' is inf, expected a number"),
        ({"area": 0}, "annotation 11 has no 'area' of at least 0.001 square pixels, which OKS needs"),
        ({"area": 1e-320}, "annotation 11 has no 'area' of at least 0.001 square pixels, which OKS needs"),
    ],
)
def test_repeated_annotations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = coco_content(images=1)
    content["categories"][0]["keypoints"] = list(SKELETONS["coco17"].joints)
    second = write_json(tmp_path / "b.json", content)
    content["annotations"][1] |= change
    with pytest.raises(DataError, match=rf"a\.json: {message}"):
        read_repeated([write_json(tmp_path / "a.json", content), second])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": ["a", 5]}, "has the name 5; names of categories and joints must be printable"),
        ({"keypoints": ["a", "b\nsigmas: [1]"]}, r"has the name 'b\\nsigmas: \[1\]'; names of categories and joints"),
        ({"keypoints": ["a", "a"]}, "category 'dog' has two joints of one name"),
        ({"keypoints": [str(n) for n in range(2000)]}, "category 'dog' has more than 1000 joints"),
        ({"name": ["dog"]}, r"category \['dog'\] has the name \['dog'\]"),
        ({"skeleton": [[0, 1]]}, "pairs of joint numbers, 1 to 2"),
        ({"skeleton": [[1, 2, 1]]}, "pairs of joint numbers, 1 to 2"),
        ({"skeleton": {"1": 2}}, "pairs of joint numbers, 1 to 2"),
    ],
)
def test_categories(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    category = {"id": 1, "name": "dog", "keypoints": ["a", "b"], "skeleton": [[1, 2]]}
    assert "limbs" in skeleton_file(write_json(tmp_path / "own.json", {"categories": [category]}))
    with pytest.raises(DataError, match=message):
        skeleton_file(write_json(tmp_path / "own.json", {"categories": [category | change]}))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"frame": "0"}', "line 1 is not a frame of a video"),
        ('{"frame": -1}', "line 1 is not a frame of a video"),
        ("[1]", "line 1 is not a frame of a video"),
        ('{"frame": 0', "line 1 is not valid JSON"),
        ('{"frame": 0, "skeleton": "/etc/x.yaml", "people": []}', "the skeleton '/etc/x.yaml' is not one of"),
        ('{"frame": 0, "skeleton": "coco17", "people": 5}', "does not hold poses as predict writes them"),
    ],
)
def test_frames_of_a_video(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "poses.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        list(read_frames(file))
    file.write_bytes(b"\xff\xfe\xff\n")
    with pytest.raises(DataError, match=r"poses\.jsonl, line 1 is not"):
        list(read_frames(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": "0.5"}, "'score' must be numbers"),
        ({"score": math.inf}, "'score' holds a number beyond"),
        ({"track_id": 1.5}, r"'track_id' is 1\.5, which is not an integer"),
        (
            {"keypoints": {key: [1e12, 1, 1] for key in JOINTS}},
            "'keypoints' holds a number beyond",
        ),
        ({"keypoints": dict.fromkeys(JOINTS, "abc")}, "'keypoints' must be numbers"),
    ],
)
def test_people_of_a_frame(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    who = {"score": 0.5, "keypoints": {key: [1, 2, 0.5] for key in JOINTS}}
    content = {"frame": 0, "skeleton": "coco17", "people": [who]}
    file = tmp_path / "poses.jsonl"
    file.write_text(json.dumps(content))
    assert len(list(read_frames(file))) == 1
    file.write_text(json.dumps(content | {"people": [who | change]}))
    with pytest.raises(DataError, match=rf"line 1 does not hold poses as predict writes them: {message}"):
        list(read_frames(file))


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e12])
def test_points_of_a_pred_mat(tmp_path: Path, value: float) -> None:
    records = (ImageRecord(1, "1.jpg", (Person(np.zeros((16, 3), np.float32), 0),)),)
    points = np.ones((1, 16, 2))
    points[0, 3, 1] = value
    savemat(tmp_path / "pred.mat", {"preds": points})
    with pytest.raises(DataError, match=r"pred\.mat: 'preds' holds a coordinate that is not a finite number within"):
        read_rows(tmp_path / "pred.mat", records)
