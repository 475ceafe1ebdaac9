"""MPII in all file formats: the published corrections, and rows in the order of gt_valid.mat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pose_core.config import DataConfig
from pose_core.data.diagnostics import Problems
from pose_core.data.h5_file import encode_names
from pose_core.errors import DataError
from pose_core.evaluation.mpii import check_same_people
from pose_core.layouts.mpii import RELEASE
from pose_core.layouts.reader import AnnotatedSet, read_dataset
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


def test_valid_keeps_every_person(tmp_path: Path) -> None:
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
        ({"scale": float("nan")}, r"valid\.json: annotation 1: .*not a finite number"),
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
    """Return a MATLAB struct."""
    array = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        array[name][0, 0] = value
    return array


def structs(*rows: np.ndarray) -> np.ndarray:
    """Return a MATLAB struct array."""
    return np.concatenate(rows, 1)


def write_release(root: Path) -> DataConfig:
    """Write two training images, with two people and with none, and a test image."""
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
    assert person.num_labeled == 3
    assert found[1][1].num_labeled == 1
    (source, untested), *rest = people_of(read_dataset(write_release(tmp_path), "test"))
    assert not rest
    assert source.endswith("t.jpg")
    assert not untested.joints.any()


def test_the_release_does_not_know_the_usual_division(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)annot/valid\.json does not exist; .*its splits are trainval and test"):
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


def write_h5(root: Path, people: list[dict[str, Any]], split: str, **columns: Any) -> DataConfig:
    """Write the same people in the hourglass's format, in which unlabeled joints have no positive x."""
    h5py = pytest.importorskip("h5py", reason="the hourglass's files need the extra pose-core[h5]")
    part = np.array([entry["joints"] for entry in people], np.float64)
    part[np.array([entry["joints_vis"] for entry in people]) == 0] = -1
    fields = {
        "imgname": np.array([entry["image"].encode() for entry in people]),
        "part": part,
        "center": np.array([entry["center"] for entry in people]),
        "scale": np.array([entry["scale"] for entry in people]),
    }
    with h5py.File(root / f"{split}.h5", "w") as file:
        for key, value in (fields | columns).items():
            if value is not None:
                file[key] = value
    for entry in people:
        write_image(root / "images" / entry["image"])
    return DataConfig(layout="mpii", root=str(root), skeleton="mpii16")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_the_hourglass_s_files_hold_the_same_people(split: str, tmp_path: Path) -> None:
    """Compare the fields that both files have; unlabeled joints have no position."""
    (tmp_path / "json").mkdir()
    (tmp_path / "h5").mkdir()
    known = people_of(read_dataset(write(tmp_path / "json", GOLDEN["annotations"], split), split))
    config = write_h5(tmp_path / "h5", GOLDEN["annotations"], split)
    assert read_dataset(config, split).annotation_file == tmp_path / "h5" / f"{split}.h5"
    found = people_of(read_dataset(config, split))
    assert len(found) == len(known) > 0
    for (source, ours), (theirs_source, theirs) in zip(found, known, strict=True):
        assert Path(source).name == Path(theirs_source).name
        assert (ours.center, ours.scale, ours.annotation_id) == (theirs.center, theirs.scale, theirs.annotation_id)
        np.testing.assert_array_equal(ours.joints[:, 2], theirs.joints[:, 2])
        seen = theirs.joints[:, 2] > 0
        np.testing.assert_array_equal(ours.joints[seen], theirs.joints[seen])


def test_a_json_file_goes_before_the_hourglass_s(tmp_path: Path) -> None:
    write_h5(tmp_path, GOLDEN["annotations"][:1], "valid")
    config = write(tmp_path, GOLDEN["annotations"], "valid")
    assert len(people_of(read_dataset(config, "valid"))) == len(GOLDEN["annotations"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"scale": None}, r"valid\.h5 is not an MPII .*no field 'scale' \(it has center, imgname, part\)"),
        (
            {"part": np.zeros((3, 14, 2))},
            r"'part' has the shape \(3, 14, 2\), but skeleton 'mpii16' has 16",
        ),
        ({"center": np.zeros((2, 2))}, r"'center' has the shape \(2, 2\), expected \(3, 2\): 3 people"),
        ({"scale": np.zeros((3, 2))}, r"'scale' has the shape \(3, 2\), expected \(3,\)"),
        ({"scale": np.array([b"a", b"b", b"c"])}, r"'scale' must be numbers, but is of the type"),
        ({"scale": np.full(3, np.nan)}, r"annotation 0: .*a coordinate is not a finite number"),
        ({"imgname": np.zeros(3)}, r"'imgname' has the shape \(3,\) and the type float64; expected strings"),
        ({"imgname": np.full((3, 2), 255)}, r"'imgname' is not UTF-8 text"),
    ],
)
def test_bad_files_of_the_hourglass(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = write_h5(tmp_path, GOLDEN["annotations"], "valid", **columns)
    with pytest.raises(DataError, match=message):
        read_dataset(config, "valid")


def test_a_file_of_the_hourglass_that_is_none(tmp_path: Path) -> None:
    config = write_h5(tmp_path, GOLDEN["annotations"], "valid")
    (tmp_path / "valid.h5").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"valid\.h5 is not an MPII annotation file: .*fetch or build it again"):
        read_dataset(config, "valid")


def test_names_may_be_characters_codes(tmp_path: Path) -> None:
    config = write_h5(
        tmp_path, GOLDEN["annotations"], "valid", imgname=encode_names(e["image"] for e in GOLDEN["annotations"])
    )
    found = people_of(read_dataset(config, "valid"))
    assert [Path(source).name for source, _ in found] == [entry["image"] for entry in GOLDEN["annotations"]]


def test_a_ground_truth_of_other_people_is_refused() -> None:
    joints = np.random.default_rng(0).uniform(20, 200, (5, 16, 3))
    truth = {
        "pos_gt_src": joints[..., :2].transpose(1, 2, 0) + 1,
        "jnt_missing": np.zeros((16, 5)),
        "headboxes_src": np.ones((2, 2, 5)),
    }
    people = dict(enumerate(joints))
    check_same_people(people, truth, Path("valid.h5"))
    check_same_people({row: people[row] for row in (1, 4)}, truth, Path("valid.h5"))  # some images may be missing
    with pytest.raises(DataError, match=r"valid\.h5: 2 of 5 people are not those .*row 1\)"):
        check_same_people(people | {1: joints[3], 3: joints[1]}, truth, Path("valid.h5"))
    with pytest.raises(DataError, match=r"has a row 5, but the ground truth for PCKh has only 5 people"):
        check_same_people(people | {5: joints[0]}, truth, Path("valid.h5"))
