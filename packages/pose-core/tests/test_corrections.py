"""Corrected labels come back: files as CVAT and Label Studio write them, merged into an annotation file."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.cli import main
from pose_core.layouts.corrections import merge_corrections
from pose_core.layouts.formats.label_studio import write_tasks
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord, Person
from pose_testing.annotations import write_image

Entry = dict[str, Any]
JOINTS = get_skeleton("coco17").joints


def person(identity: int, image: int, left: float, **changes: Any) -> Entry:
    points = [(left + 3 * k, 20 + 2.5 * k, 2 if k else 1) for k in range(17)]
    return {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": [value for point in points for value in point],
        "num_keypoints": 17,
        "bbox": [left - 5, 15, 60, 60],
        "area": 1900.0,
        "segmentation": [[left, 15, left + 50, 15, left + 50, 70]],
    } | changes


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Three images; the second has two people and a crowd, the third is never corrected."""
    content = {
        "info": {"year": 2026},
        "images": [
            {"id": 10 * n, "file_name": f"{name}.jpg", "width": 200, "height": 100}
            for n, name in enumerate(("one", "sub/two", "three"), 1)
        ],
        "annotations": [
            person(5, 10, 20),
            person(6, 20, 10),
            person(7, 20, 110),
            person(8, 20, 0, iscrowd=1, keypoints=[0] * 51, num_keypoints=0, segmentation=[[0, 0, 9, 0, 9, 9]]),
            person(9, 30, 40),
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": [[1, 2]]}],
    }
    file = tmp_path / "annotations" / "train.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    return file


def cvat_export(into: Path, names: Sequence[str], order: Sequence[int] = range(17)) -> Entry:
    """Return what CVAT exports as COCO Keypoints 1.0: everything renumbered, boxes of the skeletons' extent.

    Images keep the order of the task, numbers have two decimals, and a skeleton's box is that of its points.
    """
    content = json.loads(into.read_text())
    images, annotations = [], []
    for image in content["images"]:
        if image["file_name"] not in names:
            continue
        identity = len(images) + 1
        more = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
        images.append({**image, **more, "id": identity})
        for entry in content["annotations"]:
            if entry["image_id"] != image["id"] or entry["iscrowd"]:
                continue
            points = np.array(entry["keypoints"], float).reshape(17, 3)[list(order)]
            low, high = points[:, :2].min(0), points[:, :2].max(0)
            annotations.append({
                "id": len(annotations) + 1, "image_id": identity, "category_id": 3, "segmentation": [],
                "area": round(float(np.prod(high - low)), 2), "bbox": [*low.tolist(), *(high - low).tolist()],
                "iscrowd": 0, "attributes": {"occluded": False, "track_id": 0, "keyframe": True},
                "keypoints": np.round(points, 2).reshape(-1).tolist(), "num_keypoints": 17,
            })  # fmt: skip
    names_in_order = [JOINTS[k] for k in order]
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "car", "supercategory": ""},
            {"id": 3, "name": "person", "supercategory": "", "keypoints": names_in_order, "skeleton": [[1, 2]]},
        ],
        "images": images,
        "annotations": annotations,
    }


def pack(content: Entry, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("annotations/person_keypoints_default.json", json.dumps(content))
    return file


def test_an_export_without_corrections_changes_nothing(into: Path, tmp_path: Path) -> None:
    export = pack(cvat_export(into, ["one.jpg", "sub/two.jpg", "three.jpg"]), tmp_path / "cvat.zip")
    merged = merge_corrections(into, [export], tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text()) == json.loads(into.read_text())
    assert [change.same for change in merged.changes] == [1, 2, 1]


def test_people_are_corrected_added_and_removed(into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = list(range(16, -1, -1))  # CVAT lists joints in the order of its labels
    export = cvat_export(into, ["one.jpg", "sub/two.jpg"], order)
    one, left, right = export["annotations"]
    one["keypoints"][:3] = [190.0, 20.0, 2]  # the last joint, far to the right
    one["keypoints"][3:6] = [0, 0, 0]
    one |= {"num_keypoints": 16, "bbox": [20.0, 20.0, 170.0, 35.0]}
    export["annotations"] = [one, left]  # the person on the right is removed
    new = copy.deepcopy(right)
    new["keypoints"][0::3] = [round(50 + x / 3, 2) for x in right["keypoints"][0::3]]
    new |= {"id": 99, "image_id": 1, "bbox": [86.0, 20.0, 17.0, 40.0]}
    export["annotations"].append(new)
    folder = tmp_path / "unpacked" / "annotations"
    folder.mkdir(parents=True)
    (folder / "person_keypoints_default.json").write_text(json.dumps(export))
    out = tmp_path / "annotations" / "corrected.json"
    assert main(["data", "merge", "--into", str(into), str(folder.parent), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "one.jpg: 1 changed, 1 added, 2 joints moved" in text
    assert "sub/two.jpg: 1 removed, 1 as before" in text
    assert "3 images, of which 2 corrected: 1 person changed, 1 added, 1 removed, 2 joints moved" in text
    assert f"data check --layout coco --root {tmp_path} --splits corrected.json" in text
    before = {entry["id"]: entry for entry in json.loads(into.read_text())["annotations"]}
    content = json.loads(out.read_text())
    after = {entry["id"]: entry for entry in content["annotations"]}
    assert list(after) == [5, 6, 8, 9, 10]
    assert [after[n] for n in (6, 8, 9)] == [before[n] for n in (6, 8, 9)]  # crowds and other images stay
    assert after[5]["keypoints"][-3:] == [190, 20, 2]
    assert after[5]["keypoints"][-6:-3] == [0, 0, 0]
    assert after[5]["keypoints"][:-6] == before[5]["keypoints"][:-6]
    assert after[5]["num_keypoints"] == 16
    assert after[5]["bbox"] == [15, 15, 175, 60]  # CVAT's has no margin, so the old one grows to hold the joint
    assert after[5]["area"] == pytest.approx(1900 * 175 / 60, abs=0.01)
    assert after[5]["segmentation"] == before[5]["segmentation"]
    assert (after[10]["image_id"], after[10]["category_id"], after[10]["num_keypoints"]) == (10, 1, 17)
    assert content["info"] == {"year": 2026}
    check = text.splitlines()[-1].partition(" data check ")[2].split()
    for name in ("one.jpg", "sub/two.jpg", "three.jpg"):
        write_image(tmp_path / "images" / name, 200, 100)
    assert main(["data", "check", *check]) == 0


def test_joints_of_other_names_are_refused(into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = cvat_export(into, ["one.jpg"])
    export["categories"][1]["keypoints"][0] = "beak"
    file = pack(export, tmp_path / "cvat.zip")
    words = ["data", "merge", "--into", str(into), str(file), "--out", str(tmp_path / "new.json")]
    assert main(words) == 3
    assert "it lacks nose and has beak, too; rename the labels" in capsys.readouterr().err
    assert not (tmp_path / "new.json").exists()


def test_images_are_found_by_name_or_refused(into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def merge(name: str, **size: int) -> str:
        export = cvat_export(into, ["one.jpg"])
        export["images"][0].update(file_name=name, **size)
        (tmp_path / "a.json").write_text(json.dumps(export))
        code = main(["data", "merge", "--into", str(into), str(tmp_path / "a.json"), "--out", str(tmp_path / "b.json")])
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    assert "one.jpg: 1 as before" in merge("folder/of/cvat/one.jpg")
    assert "sub/two.jpg: 1 changed, 1 removed" in merge("two.jpg")
    assert "image 'nosuch.jpg': there is no image of that name in" in merge("nosuch.jpg")
    assert "one.jpg' has 20x10 pixels, but 200x100 in" in merge("one.jpg", width=20, height=10)


# --- Label Studio -----------------------------------------------------------------------------------------------------


def label_studio_export(into: Path, tmp_path: Path) -> list[Entry]:
    """Return the export of a project whose tasks were pre-labeled, every prediction accepted as it was."""
    content = json.loads(into.read_text())
    records = []
    for image in content["images"]:
        people = [
            Person(np.array(a["keypoints"], np.float32).reshape(17, 3), a["id"], stated_box=tuple(a["bbox"]))
            for a in content["annotations"]
            if a["image_id"] == image["id"] and not a["iscrowd"]
        ]
        records.append(ImageRecord(image["id"], str(tmp_path / image["file_name"]), tuple(people), 200, 100))
    write_tasks(records, get_skeleton("coco17"), tmp_path / "tasks.json", images=tmp_path)
    tasks: list[Entry] = json.loads((tmp_path / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        regions = [{**region, "origin": "prediction"} for region in task.pop("predictions")[0]["result"]]
        task |= {
            "id": number + 1, "project": 7, "file_upload": None, "predictions": [],
            "annotations": [{
                "id": number + 70, "completed_by": 1, "result": regions, "was_cancelled": False, "ground_truth": False,
                "created_at": "2026-11-29T10:00:00.000000Z", "updated_at": "2026-11-29T10:00:00.000000Z",
                "lead_time": 9.5, "task": number + 1, "parent_prediction": 3,
            }],
        }  # fmt: skip
    return tasks


def save(tasks: list[Entry], tmp_path: Path) -> Path:
    file = tmp_path / "export.json"
    file.write_text(json.dumps(tasks))
    return file


def test_label_studio_tasks_come_back_as_they_were(into: Path, tmp_path: Path) -> None:
    merge_corrections(into, [save(label_studio_export(into, tmp_path), tmp_path)], tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_text()) == json.loads(into.read_text())


def test_label_studio_corrections(into: Path, tmp_path: Path) -> None:
    tasks = label_studio_export(into, tmp_path)
    one, two, three = tasks
    one["data"]["image"] = "/data/upload/7/0a1b2c3d-one.jpg"
    regions = one["annotations"][0]["result"]
    wrist = next(r for r in regions if r.get("value", {}).get("keypointlabels") == ["left_wrist"])
    wrist["value"]["x"] += 5
    elbow = next(r for r in regions if r.get("value", {}).get("keypointlabels") == ["left_elbow"])
    regions.append(
        {"id": elbow["id"], "type": "choices", "from_name": "state", "to_name": "image", "original_width": 200,
         "original_height": 100, "value": {**elbow["value"], "choices": ["hidden"]}}
    )  # fmt: skip
    regions[:] = [r for r in regions if r.get("value", {}).get("keypointlabels") != ["right_knee"]]
    # A new person in the second image: a rectangle, one point inside its region, one related to it, one in its area.
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0, "to_name": "image", "origin": "manual"}
    regions = two["annotations"][0]["result"]
    box = {"x": 80.0, "y": 1.0, "width": 10.0, "height": 10.0, "rotation": 0, "rectanglelabels": ["person"]}
    regions.append({**size, "id": "aB3", "type": "rectanglelabels", "from_name": "person", "value": box})
    for name, joint, x, more in (("n1", "nose", 81.0, {"parentID": "aB3"}), ("n2", "left_eye", 10.0, {}),
                                 ("n3", "right_eye", 85.0, {})):  # fmt: skip
        value = {"x": x, "y": 5.0, "width": 0.5, "keypointlabels": [joint]}
        regions.append({**size, **more, "id": name, "type": "keypointlabels", "from_name": "joints", "value": value})
    regions.append({"type": "relation", "from_id": "n2", "to_id": "aB3", "direction": "right"})
    three["annotations"][0]["was_cancelled"] = True  # skipped by its annotator: not corrected
    three["annotations"][0]["result"] = []
    merged = merge_corrections(into, [save(tasks, tmp_path)], tmp_path / "new.json")
    assert [str(change) for change in merged.changes] == [
        "one.jpg: 1 changed, 3 joints moved",
        "sub/two.jpg: 1 added, 2 as before",
    ]
    after = {entry["id"]: entry for entry in json.loads((tmp_path / "new.json").read_text())["annotations"]}
    before = {entry["id"]: entry for entry in json.loads(into.read_text())["annotations"]}
    joints = np.array(after[5]["keypoints"]).reshape(17, 3)
    was = np.array(before[5]["keypoints"]).reshape(17, 3)
    names = {name: number for number, name in enumerate(JOINTS)}
    assert joints[names["left_wrist"], 0] == was[names["left_wrist"], 0] + 10
    assert joints[names["left_elbow"]].tolist() == [*was[names["left_elbow"], :2], 1]
    assert joints[names["right_knee"]].tolist() == [0, 0, 0]
    assert after[5]["bbox"] == before[5]["bbox"]  # drawn there, and not touched
    new = after[10]
    assert (new["bbox"], new["num_keypoints"]) == ([160, 1, 20, 10], 3)
    assert new["keypoints"][:9] == [162, 5, 2, 20, 5, 2, 170, 5, 2]


def test_points_of_nobody_are_named(into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = label_studio_export(into, tmp_path)
    for region in tasks[1]["annotations"][0]["result"]:
        region.pop("parentID", None)
        if region["type"] == "keypointlabels":
            region["value"]["x"] = 99.0
    words = ["data", "merge", "--into", str(into), str(save(tasks, tmp_path)), "--out", str(tmp_path / "new.json")]
    assert main(words) == 3
    assert (
        "task 2: whose 'nose' at 198, 20 is, is not clear (no rectangle is around it); drag" in capsys.readouterr().err
    )


def test_exports_that_lose_people_are_refused(into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(content: object) -> str:
        (tmp_path / "a.json").write_text(json.dumps(content))
        words = ["data", "merge", "--into", str(into), str(tmp_path / "a.json"), "--out", str(tmp_path / "b.json")]
        assert main(words) == 3
        return capsys.readouterr().err

    export = cvat_export(into, ["one.jpg"]) | {"info": {"contributor": "Label Studio"}}
    assert "Label Studio's export to COCO, which joins the people of an image; export JSON" in refused(export)
    assert "(JSON-MIN is neither)" in refused([{"image": "/data/upload/1/a.jpg", "person": [], "joints": []}])


def test_what_does_not_go_together_is_said(into: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert main(["data", "merge", *words]) == 2
        return capsys.readouterr().err

    assert "--into FILE CORRECTED… --out FILE" in refused("a.json")
    assert "--into needs corrected files" in refused("--into", str(into))
    assert "--splits merges splits; it does not go with --into" in refused("--into", str(into), "--splits", "a", "b")
    assert "its splits cannot be merged, only those of coco and crowdpose" in refused("--layout", "mpii")
