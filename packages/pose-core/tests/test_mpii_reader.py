"""MPII in both forms: the published corrections, and rows that stay in step with gt_valid.mat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pose_core.config import DataConfig
from pose_core.data.mpii import RELEASE
from pose_core.data.problems import Problems
from pose_core.data.reader import AnnotatedSet, read_dataset
from pose_core.errors import DataError
from pose_testing.annotations import write_image, write_json
from pose_testing.golden import load_golden

GOLDEN = load_golden("asda/functions")["mpii_records"]


def write(root: Path, people: list[dict[str, Any]], split: str) -> DataConfig:
    write_json(root / "annot" / f"{split}.json", people)
    for entry in people:
        write_image(root / "images" / entry["image"])
    return DataConfig(layout="mpii", root=str(root), skeleton="mpii16")


def people_of(found: AnnotatedSet) -> list[tuple[str, Any]]:
    return [(record.source, person) for record in found.records for person in record.persons]


def test_records_are_the_published_ones(tmp_path: Path) -> None:
    found = people_of(read_dataset(write(tmp_path, GOLDEN["annotations"], "train"), "train"))
    assert len(found) == len(GOLDEN["records"])
    for (source, ours), theirs in zip(found, GOLDEN["records"], strict=True):
        assert source.endswith(theirs["image"])
        assert ours.center == tuple(theirs["center"])
        assert ours.scale == tuple(theirs["scale"])
        np.testing.assert_allclose(ours.joints[:, :2], theirs["joints_xy"])
        np.testing.assert_array_equal(ours.joints[:, 2] > 0, np.array(theirs["vis"]) > 0)


def test_valid_drops_nobody(tmp_path: Path) -> None:
    found = people_of(read_dataset(write(tmp_path, GOLDEN["annotations"], "valid"), "valid"))
    assert [person.annotation_id for _, person in found] == [0, 1, 2]


def test_people_of_an_image_share_a_record_and_keep_their_rows(tmp_path: Path) -> None:
    entry = GOLDEN["annotations"][0]
    people = [entry | {"image": name} for name in ("a.jpg", "b.jpg", "a.jpg")]
    found = read_dataset(write(tmp_path, people, "valid"), "valid")
    assert [[p.annotation_id for p in record.persons] for record in found.records] == [[0, 2], [1]]
    assert [record.image_id for record in found.records] == [0, 1]


def test_the_test_split_has_no_joints(tmp_path: Path) -> None:
    people = [{key: entry[key] for key in ("image", "center", "scale")} for entry in GOLDEN["annotations"]]
    found = read_dataset(write(tmp_path, people, "test"), "test")
    assert not found.has_annotations
    assert all(person.joints.shape == (16, 3) and not person.joints.any() for _, person in people_of(found))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [[1, 2]] * 14}, r"valid\.json: annotation 1: 14 joints"),
        ({"joints_vis": [1] * 3}, r"valid\.json: annotation 1: 16 joints and 3 'joints_vis'"),
        ({"joints": [[1, 2, 3]] * 16}, r"valid\.json: annotation 1: 'joints' must be pairs"),
        ({"center": [1]}, r"valid\.json: annotation 1: a person needs"),
        ({"scale": float("nan")}, r"valid\.json: annotation 1: .*no finite number"),
    ],
)
def test_what_stops_names_file_and_row(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    people = [GOLDEN["annotations"][0], GOLDEN["annotations"][0] | change]
    with pytest.raises(DataError, match=message):
        read_dataset(write(tmp_path, people, "valid"), "valid")


def test_a_training_person_without_scale_is_counted(tmp_path: Path) -> None:
    people = [GOLDEN["annotations"][0], GOLDEN["annotations"][0] | {"scale": 0.0}]
    problems = Problems()
    found = read_dataset(write(tmp_path, people, "train"), "train", problems=problems)
    assert len(people_of(found)) == 1
    assert problems.counts == {"zero-area person": 1}


def struct(**fields: Any) -> np.ndarray:
    """A MATLAB struct."""
    array = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        array[name][0, 0] = value
    return array


def structs(*rows: np.ndarray) -> np.ndarray:
    """A MATLAB struct array."""
    return np.concatenate(rows, 1)


def write_release(root: Path) -> DataConfig:
    """Two training images, with two people and none to estimate, and a test image."""
    points = structs(
        struct(x=11.0, y=21.0, id=0, is_visible=1),
        struct(x=12.0, y=22.0, id=1, is_visible=0),
        struct(x=13.0, y=23.0, id=9, is_visible=np.zeros((0, 0))),
    )
    first = struct(
        x1=31.0, y1=41.0, x2=51.0, y2=71.0, annopoints=struct(point=points), scale=2.0, objpos=struct(x=101.0, y=151.0)
    )
    nobody = struct(
        x1=1.0, y1=1.0, x2=2.0, y2=2.0, annopoints=np.zeros((0, 0)), scale=np.zeros((0, 0)), objpos=np.zeros((0, 0))
    )
    single = struct(point=struct(x=11.0, y=21.0, id=6, is_visible="1"))
    second = struct(x1=1.0, y1=1.0, x2=9.0, y2=9.0, annopoints=single, scale=1.0, objpos=struct(x=5.0, y=6.0))
    untested = struct(scale=3.0, objpos=struct(x=5.0, y=6.0))
    images = structs(
        struct(image=struct(name="a.jpg"), annorect=structs(first, nobody, second)),
        struct(image=struct(name="t.jpg"), annorect=untested),
        struct(image=struct(name="b.jpg"), annorect=np.zeros((0, 0))),
    )
    root.mkdir(exist_ok=True)
    savemat(root / RELEASE, {"RELEASE": struct(annolist=images, img_train=np.array([[1, 0, 1]]))})
    for name in "atb":
        write_image(root / "images" / f"{name}.jpg")
    return DataConfig(layout="mpii", root=str(root), skeleton="mpii16")


def test_official_release(tmp_path: Path) -> None:
    found = people_of(read_dataset(write_release(tmp_path), "trainval"))
    assert [person.annotation_id for _, person in found] == [0, 1]
    person = found[0][1]
    assert person.center == (100.0, 150.0 + 15 * 2)
    assert person.scale == (2.5, 2.5)
    assert person.head_box == (30.0, 40.0, 20.0, 30.0)
    np.testing.assert_array_equal(person.joints[[0, 1, 9]], [[10, 20, 2], [11, 21, 1], [12, 22, 2]])
    assert person.num_labelled == 3
    assert found[1][1].num_labelled == 1
    (source, untested), *rest = people_of(read_dataset(write_release(tmp_path), "test"))
    assert not rest
    assert source.endswith("t.jpg")
    assert not untested.joints.any()


def test_the_release_does_not_know_the_usual_division(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"trainval and test; .* annot/valid\.json"):
        read_dataset(write_release(tmp_path), "valid")


def test_missing_and_malformed_files(tmp_path: Path) -> None:
    config = DataConfig(layout="mpii", root=str(tmp_path), skeleton="mpii16")
    with pytest.raises(DataError, match=r"annot/train\.json does not exist; the layout 'mpii' expects"):
        read_dataset(config, "train")
    (tmp_path / RELEASE).write_bytes(b"not a matrix")
    with pytest.raises(DataError, match="is not MPII's official annotation file"):
        read_dataset(config, "trainval")
    write_json(tmp_path / "annot" / "train.json", {"a": 1})
    with pytest.raises(DataError, match=r"train\.json is not an MPII annotation file"):
        read_dataset(config, "train")
