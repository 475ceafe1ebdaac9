"""What a `Poses` can do: slice, show, save, crop, and give itself to other tools."""

from __future__ import annotations

import base64
import csv
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO as CocoFile

from pose_core.errors import PoseError
from pose_core.photos import as_pixels
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses, to_coco_dataset

COCO = SKELETONS["coco17"]
IMAGE = np.full((120, 160, 3), 90, np.uint8)


def people(count: int = 3, **more: object) -> Poses:
    """Return people who stand side by side, 40 pixels apart, the first joint of each not found."""
    rng = np.random.default_rng(0)
    left = 5 + 40 * np.arange(count)
    points = rng.uniform(0, 1, (count, 17, 2)) * [30, 100] + np.stack([left, np.full(count, 10)], 1)[:, None]
    scores = np.full((count, 17), 0.8)
    scores[:, 0] = 0.1
    boxes = np.column_stack([left, np.full(count, 10), np.full(count, 30), np.full(count, 100)]).astype(np.float32)
    return Poses(points, scores, np.linspace(0.9, 0.5, count), COCO, boxes, **more)  # type: ignore[arg-type]


def test_poses_slice_like_a_list_and_keep_their_image() -> None:
    poses = people(track_ids=np.array([7, 8, 9]), image=IMAGE)
    assert len(poses) == 3
    second = poses[1]
    assert len(second) == 1
    assert second.track_ids is not None
    assert second.track_ids.tolist() == [8]
    assert second.image is IMAGE
    assert poses[-1] == poses[[2]]
    assert len(poses[poses.pose_scores > 0.6]) == 2
    assert [each == poses[index] for index, each in enumerate(poses)] == [True] * 3
    with pytest.raises(IndexError):
        poses[3]


def test_equality_compares_poses_and_not_images() -> None:
    assert people(image=IMAGE) == people()
    assert people() != people(track_ids=np.arange(3))
    assert people() != people(2)
    assert people() != "people"


def test_the_repr_is_one_line() -> None:
    assert repr(people(image=IMAGE, source="a/b.jpg")) == "<Poses: 3 people, coco17 in a/b.jpg (160x120)>"
    assert repr(people(1)) == "<Poses: 1 person, coco17>"
    assert repr(people(0)) == "<Poses: 0 people, coco17>"


def test_a_notebook_shows_the_drawn_image_and_a_table() -> None:
    poses = people(image=np.full((1200, 1600, 3), 90, np.uint8), source="<a>.jpg")
    page = poses._repr_html_()
    assert "&lt;a&gt;.jpg" in page
    content = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert content is not None
    shown, _ = as_pixels(base64.b64decode(content[1]))
    assert shown.shape == (600, 800, 3), "large photos are made smaller"
    assert np.ptp(shown) > 100, "the poses are drawn"
    assert page.count("<tr>") == 4
    assert "16 of 17" in page
    assert "track" not in page
    assert "track" in people(track_ids=np.arange(3))._repr_html_()
    assert "<img" not in people()._repr_html_()
    crowd = people()[[0] * 25]._repr_html_()
    assert crowd.count("<tr>") == 21
    assert "and 5 more" in crowd


def test_poses_are_saved_in_the_format_of_the_suffix(tmp_path: Path) -> None:
    poses = people(image=IMAGE, source="a.jpg", track_ids=np.array([7, 8, 9]))
    assert poses.save(tmp_path / "drawn.png") == tmp_path / "drawn.png"
    np.testing.assert_array_equal(as_pixels(tmp_path / "drawn.png")[0], poses.draw())
    assert not np.array_equal(poses.draw(), IMAGE)
    poses.save(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content == poses.to_dict()
    assert (content["image"], content["width"], content["height"]) == ("a.jpg", 160, 120)
    assert content["people"][1]["track_id"] == 8
    assert list(content["people"][0]["keypoints"]) == list(COCO.joints)
    poses.save(str(tmp_path / "a.csv"))
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 3 * 17
    assert rows[18]["joint"] == "left_eye"
    assert rows[18]["track_id"] == "8"
    assert float(rows[18]["x"]) == pytest.approx(poses.keypoints[1, 1, 0], abs=0.01)
    with pytest.raises(PoseError, match=r"ends in \.jpg"):
        poses.save(tmp_path / "a.docx")
    with pytest.raises(PoseError, match="do not know their image"):
        people().save(tmp_path / "b.jpg")


def test_poses_of_a_file_read_it_again(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), IMAGE)
    poses = people(source=str(file), size=(160, 120))
    assert poses.draw().shape == IMAGE.shape
    assert "<img" in poses._repr_html_()
    file.unlink()
    with pytest.raises(PoseError, match="does not exist"):
        poses.draw()
    assert "<table" in poses._repr_html_(), "a notebook shows the rest"


def test_a_crop_is_one_person_in_its_own_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    poses = people(image=image)
    crop = poses.crop(1, margin=0.05)
    assert len(crop) == 1
    assert crop.image is not None
    np.testing.assert_array_equal(crop.image, image[5:115, 40:80])
    np.testing.assert_allclose(crop.keypoints, poses.keypoints[[1]] - [40, 5])
    assert crop.boxes is not None
    assert crop.boxes.tolist() == [[5, 5, 30, 100]]
    assert crop.size == (40, 110)
    at_the_border = poses.crop(0, margin=1)
    assert at_the_border.image is not None
    assert at_the_border.image.shape == (120, 135, 3)
    with pytest.raises(PoseError, match="do not know their image"):
        people().crop(0)


def test_a_coco_file_of_poses_is_read_by_its_reference_reader(tmp_path: Path) -> None:
    several = [people(image=IMAGE, source="in/a.jpg"), people(1, size=(64, 48))]
    content = to_coco_dataset(several)
    (tmp_path / "poses.json").write_text(json.dumps(content))
    coco = CocoFile(str(tmp_path / "poses.json"))
    assert [(i["file_name"], i["width"], i["height"]) for i in coco.loadImgs([1, 2])] == [
        ("a.jpg", 160, 120),
        ("000000000002.jpg", 64, 48),
    ]
    assert [a["image_id"] for a in coco.loadAnns(coco.getAnnIds())] == [1, 1, 1, 2]
    first = coco.loadAnns([1])[0]
    assert first["keypoints"][:3] == [0, 0, 0], "a joint with a low score is not labeled"
    assert first["keypoints"][5] == 2
    assert first["num_keypoints"] == 16
    assert first["bbox"] == [5, 10, 30, 100]
    assert coco.loadCats([1])[0]["keypoints"] == list(COCO.joints)
    assert several[0].to_coco()["annotations"] == content["annotations"][:3]
    assert len(several[0].to_coco(7)) == 3
    with pytest.raises(PoseError, match="size of every image"):
        to_coco_dataset([people()])


def test_a_box_of_poses_without_boxes_is_the_extent_of_their_joints() -> None:
    points = np.full((1, 17, 2), np.nan)
    points[0, :2] = [[10, 20], [30, 60]]
    entry = Poses(points, np.ones((1, 17)), np.ones(1), COCO, image=IMAGE).to_coco()["annotations"][0]
    assert entry["bbox"] == [10, 20, 20, 40]
    assert entry["num_keypoints"] == 2


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="needs pandas")
def test_a_table_has_a_row_for_each_joint() -> None:
    table = people(track_ids=np.array([7, 8, 9]), source="a.jpg").to_dataframe()
    assert len(table) == 3 * 17
    assert table.groupby("track_id")["score"].max().to_dict() == {7: 0.8, 8: 0.8, 9: 0.8}
    assert (table["image"] == "a.jpg").all()


@pytest.mark.skipif(
    importlib.util.find_spec("supervision") is None, reason="needs supervision, which brings a second OpenCV"
)
def test_supervision_takes_the_poses() -> None:
    points = people().to_supervision()
    assert points.xy.shape == (3, 17, 2)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "supervision"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PoseError, match="package pandas"):
        people().to_dataframe()
    with pytest.raises(PoseError, match="package supervision"):
        people().to_supervision()


def test_show_opens_a_window_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    poses = people(image=IMAGE)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    shown: list[np.ndarray] = []
    plots = ModuleType("matplotlib.pyplot")
    plots.get_backend = lambda: "agg"  # type: ignore[attr-defined]
    plots.imshow = shown.append  # type: ignore[attr-defined]
    plots.axis = lambda _: None  # type: ignore[attr-defined]
    plots.show = lambda: None  # type: ignore[attr-defined]
    package = ModuleType("matplotlib")
    package.pyplot = plots  # type: ignore[attr-defined]
    for name, module in (("", package), (".pyplot", plots)):
        monkeypatch.setitem(sys.modules, f"matplotlib{name}", module)
    with pytest.raises(PoseError, match="no screen"):
        poses.show()
    plots.get_backend = lambda: "TkAgg"  # type: ignore[attr-defined]
    poses.show()
    np.testing.assert_array_equal(shown[0], poses.draw())
    for name in ("matplotlib", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PoseError, match="matplotlib or Pillow"):
        poses.show()
    with pytest.raises(PoseError, match="do not know their image"):
        people().show()
