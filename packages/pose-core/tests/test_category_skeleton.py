"""`pose data skeleton`: the skeleton file of an annotation file's joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pose_core.cli import main
from pose_core.data.category_skeleton import mirror_name, skeleton_file
from pose_core.errors import DataError
from pose_core.skeleton import SKELETONS, read_skeleton
from pose_testing.annotations import coco_content, write_json

DOG = {"id": 7, "name": "dog", "keypoints": ["nose", "L_ear", "R_ear", "tail"], "skeleton": [[1, 2], [1, 3], [1, 4]]}


def write(folder: Path, *categories: dict[str, Any]) -> Path:
    file = folder / "train.json"
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": list(categories)}))
    return file


def test_the_printed_file_is_a_skeleton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "skeleton", str(write(tmp_path, {"id": 1, "name": "lamp"}, DOG))]) == 0
    text = capsys.readouterr().out
    (tmp_path / "dog.yaml").write_text(text)
    made = read_skeleton(tmp_path / "dog.yaml")
    assert made.joints == ("nose", "L_ear", "R_ear", "tail")
    assert made.flip_pairs == ((1, 2),)
    assert made.limbs == ((0, 1), (0, 2), (0, 3))
    assert made.upper_body == (0, 1, 2)
    assert made.sigmas == (0.026, 0.067, 0.067, 0.067)
    assert "# WARNING: these OKS sigmas are defaults" in text
    assert "the others have their mean, 0.067:\n# L_ear, R_ear, tail.\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_built_in_joint_set_comes_back(tmp_path: Path) -> None:
    coco = SKELETONS["coco17"]
    limbs = [[a + 1, b + 1] for a, b in coco.limbs]
    file = write(tmp_path, {"id": 1, "name": "coco17", "keypoints": list(coco.joints), "skeleton": limbs})
    (tmp_path / "coco.yaml").write_text(skeleton_file(file))
    assert read_skeleton(tmp_path / "coco.yaml") == coco


@pytest.mark.parametrize(
    ("joint", "other"),
    [
        ("left_knee", "right_knee"),
        ("kneeLeft", "kneeRight"),
        ("knee.l", "knee.r"),
        ("L Knee", "R Knee"),
        ("pelvis", None),
        ("right_knee", None),
        ("elbow", None),
    ],
)
def test_left_joints_are_known_by_name(joint: str, other: str | None) -> None:
    assert mirror_name(joint) == other


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no category with a list of 'keypoints'"):
        skeleton_file(write(tmp_path, {"id": 1, "name": "lamp"}))
    cat = {"id": 8, "name": "cat", "keypoints": ["nose", "whisker"]}
    with pytest.raises(DataError, match="choose one with --category: 'dog', 'cat'"):
        skeleton_file(write(tmp_path, DOG, cat))
    assert "whisker" in skeleton_file(write(tmp_path, DOG, cat), "cat")
    with pytest.raises(DataError, match="no category is named 'cow'"):
        skeleton_file(write(tmp_path, DOG, cat), "cow")
    with pytest.raises(DataError, match="pairs of joint numbers, 1 to 4"):
        skeleton_file(write(tmp_path, {**DOG, "skeleton": [[1, 9]]}))


def test_sigmas_of_identical_files_are_questioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = coco_content(images=1, people=2)
    content["categories"] = [{"id": 1, "name": "person", "keypoints": list(SKELETONS["coco17"].joints)}]
    files = [str(write_json(tmp_path / name, content)) for name in ("a.json", "b.json")]
    assert main(["data", "sigmas", "--annotations", *files]) == 0
    said = capsys.readouterr()
    assert "warning: all joints are annotated identically in every file (nose, left_eye, right_eye, …)" in said.err
    assert said.out.count("0.0000") == 17
    content["annotations"][0]["keypoints"][0] += 4
    write_json(tmp_path / "b.json", content)
    assert main(["data", "sigmas", "--annotations", *files]) == 0
    assert "warning: some joints" in capsys.readouterr().err
