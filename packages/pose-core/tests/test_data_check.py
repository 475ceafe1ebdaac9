"""`pose data check`: reads all files despite any problems, and reports them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pose_core.data.diagnostics import EXAMPLES, Problems
from pose_core.errors import ConfigError
from pose_core.layouts.check import check_dataset
from pose_core.layouts.table import get_layout
from pose_testing.annotations import coco_content, write_coco, write_image


def test_a_good_data_set(tmp_path: Path) -> None:
    content = coco_content(images=3, people=2)
    content["annotations"][0]["keypoints"][2] = 0
    content["annotations"][0]["num_keypoints"] = 16
    write_coco(tmp_path, content)
    report = check_dataset("coco", tmp_path, ["train2017"], decode="all")
    assert report.ok
    (split,) = report.splits
    assert (split.images, split.with_people, split.persons, split.decoded) == (3, 3, 6, 3)
    assert split.labeled.tolist() == [5] + [6] * 16
    text = str(report)
    assert "annotations/person_keypoints_<split>.json" in text
    assert "nose" in text
    assert "5 labeled (83%)" in text
    assert text.endswith("\nok")


def test_every_problem_is_reported(tmp_path: Path) -> None:
    content = coco_content(images=6, people=1)
    file = write_coco(tmp_path, content)
    folder = tmp_path / "images" / "train2017"
    content["annotations"][0].update(keypoints=[1, 2, 2])
    content["annotations"][1].update(image_id=99)
    content["annotations"][2].update(area=0)
    file.write_text(json.dumps(content))
    (folder / "000000000003.jpg").unlink()
    (folder / "000000000004.jpg").write_bytes(b"nothing")
    short = folder / "000000000005.jpg"
    short.write_bytes(short.read_bytes()[:-2])
    write_image(folder / "000000000006.jpg", 32, 32)
    report = check_dataset("coco", tmp_path, ["train2017", "val2017"], decode="all")
    assert not report.ok
    train, val = report.splits
    assert train.problems.counts == {
        "wrong joint count": 1,
        "unknown image": 1,
        "zero-area person": 1,
        "image missing": 1,
        "image does not decode": 2,
        "image size differs": 1,
    }
    assert val.problems.counts == {"missing file": 1}
    text = str(report)
    for mention in ("annotation 10", "image_id 99", "annotation 30", "000000000003.jpg", "32x32", "not ok"):
        assert mention in text


def test_unreadable_annotations_are_reported(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_content()).write_text("{")
    report = check_dataset("coco", tmp_path, ["train2017"])
    assert report.splits[0].problems.stopping == {"malformed file": 1}
    assert "line 1" in str(report)


@pytest.mark.parametrize(("decode", "opened"), [("none", 0), ("sample", 100), ("all", 130)])
def test_how_many_images_are_opened(tmp_path: Path, decode: str, opened: int) -> None:
    write_coco(tmp_path, coco_content(images=130, people=1, width=16, height=16))
    report = check_dataset("coco", tmp_path, ["train2017"], decode=decode)  # type: ignore[arg-type]
    assert report.splits[0].decoded == opened


def test_a_summary_shows_the_first_of_each_kind() -> None:
    problems = Problems()
    for identity in range(10):
        problems.skip("zero-area person", "a.json", "area is 0", identity)
    lines = problems.summary().splitlines()
    assert lines[0] == "10 × zero-area person (person skipped)"
    assert len(lines) == 1 + EXAMPLES + 1
    assert lines[1].strip() == "a.json: annotation 0: area is 0"
    assert len(problems) == 10
    assert Problems().summary() == "no problems"


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown layout 'voc'\. Known: coco, crowdpose, mpii, lsp, lsp_mpii"):
        check_dataset("voc", tmp_path, ["train"])
    with pytest.raises(ConfigError, match="did you mean crowdpose"):
        get_layout("crowd_pose")
