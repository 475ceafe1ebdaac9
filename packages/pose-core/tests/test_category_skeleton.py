"""`pose data skeleton`: the skeleton file of an annotation file's joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pose_core.cli import main
from pose_core.data.category_skeleton import mirror_pairs, skeleton_file
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
    assert made.sigmas == (0.026, 0.035, 0.035, 0.067)
    assert "# WARNING: these OKS sigmas are defaults" in text
    assert "the others have their mean, 0.067:\n# tail.\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_built_in_joint_set_comes_back(tmp_path: Path) -> None:
    coco = SKELETONS["coco17"]
    limbs = [[a + 1, b + 1] for a, b in coco.limbs]
    file = write(tmp_path, {"id": 1, "name": "coco17", "keypoints": list(coco.joints), "skeleton": limbs})
    (tmp_path / "coco.yaml").write_text(skeleton_file(file))
    assert read_skeleton(tmp_path / "coco.yaml") == coco


@pytest.mark.parametrize(
    ("joints", "pairs"),
    [
        (["left_knee", "right_knee"], [(0, 1)]),
        (["right_knee", "pelvis", "left_knee"], [(2, 0)]),
        (["kneeLeft", "kneeRight", "knee.l", "elbow.r", "elbow.l"], [(0, 1), (4, 3)]),
        (["L Knee", "R Knee"], [(0, 1)]),
        (["LKnee", "RKnee", "L", "R", "Left", "Right"], [(0, 1), (2, 3), (4, 5)]),
        (["front_left_paw", "front_right_paw", "rear_left_paw"], [(0, 1)]),
        (["pelvis", "right_knee", "elbow"], []),
    ],
)
def test_left_and_right_joints_are_known_by_name(joints: list[str], pairs: list[tuple[int, int]]) -> None:
    assert mirror_pairs(joints) == pairs


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


def test_new_skeleton_writes_a_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = write(tmp_path, DOG), tmp_path / "dog.yaml"
    words = ["data", "new-skeleton", str(file), "--out", str(out)]
    assert main(words) == 2
    assert "AP needs OKS sigmas: estimate them with --annotations" in capsys.readouterr().err
    assert main([*words, "--sigmas", "coco"]) == 3
    assert "COCO has no sigma for L_ear, R_ear, tail" not in (said := capsys.readouterr().err)
    assert "COCO has no sigma for tail; estimate them with --annotations" in said
    assert not out.exists()
    assert main([*words, "--sigmas", "default"]) == 0
    said = capsys.readouterr().out
    assert "4 joints, 3 limbs\nleft and right: L_ear and R_ear\nto check it: " in said
    assert f"data check --root {tmp_path} --splits train.json --skeleton {out}" in said
    below = tmp_path / "my data" / "annotations" / "own.json"
    below.parent.mkdir(parents=True)
    below.write_bytes(file.read_bytes())
    assert main(["data", "new-skeleton", str(below), "--sigmas", "default", "--out", str(tmp_path / "own.yaml")]) == 0
    assert f"data check --root '{tmp_path}/my data' --splits own.json" in capsys.readouterr().out
    made = read_skeleton(out)
    assert made.sigmas == (0.026, 0.035, 0.035, 0.067)
    before = out.read_text()
    assert main([*words, "--sigmas", "default"]) == 2
    assert "dog.yaml exists; give --force to replace it, or another --out" in capsys.readouterr().err
    assert out.read_text() == before
    assert main([*words, "--sigmas", "default", "--force"]) == 0
    assert main([*words[:3], "--sigmas", "default", "--out", str(tmp_path / "dog.json")]) == 2
    assert "must end in .yaml" in capsys.readouterr().err


def test_new_skeleton_estimates_sigmas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = coco_content(images=1, people=2)
    for annotation in content["annotations"]:
        annotation |= {"keypoints": annotation["keypoints"][:12], "num_keypoints": 4}
    content["categories"] = [DOG]
    first = write_json(tmp_path / "a.json", content)
    words = ["data", "new-skeleton", str(first), "--out", str(tmp_path / "dog.yaml")]
    assert main([*words, "--annotations", str(first)]) == 2
    assert "needs at least two files" in capsys.readouterr().err
    assert main([*words, "--annotations", str(first), str(first)]) == 3
    assert "no sigma can be estimated for nose, L_ear, R_ear, tail: the annotations are identical" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "dog.yaml").exists()
    for annotation in content["annotations"]:
        annotation["keypoints"] = [
            value + (2 + number // 3 if number % 3 == 0 else 0) for number, value in enumerate(annotation["keypoints"])
        ]
    second = write_json(tmp_path / "b.json", content)
    assert main([*words, "--annotations", str(first), str(second)]) == 0
    assert "sigmas estimated from 2 people annotated 2 times" in capsys.readouterr().out
    # Two annotations that are d pixels apart have a variance of d²/2; the people's area is 800.
    expected = [round(((2 + joint) ** 2 / 2 / 800) ** 0.5, 4) for joint in range(4)]
    assert read_skeleton(tmp_path / "dog.yaml").sigmas == pytest.approx(expected)
    content["categories"] = [{**DOG, "keypoints": ["nose", "L_ear", "R_ear", "beak"]}]
    other = write_json(tmp_path / "c.json", content)
    assert main([*words, "--force", "--annotations", str(other), str(other)]) == 3
    assert "no sigma was estimated for tail" in capsys.readouterr().err


def test_the_earlier_spelling_prints_and_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "skeleton", str(write(tmp_path, DOG)), "--category", "dog"]) == 0
    assert capsys.readouterr().out == skeleton_file(tmp_path / "train.json")
    assert main(["data", "--help"]) == 0
    listed = capsys.readouterr().out
    assert "  new-skeleton  " in listed
    assert "|skeleton" not in listed
    assert "    skeleton  " not in listed
