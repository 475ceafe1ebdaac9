"""Images held out of one annotation file, and the original code's 500."""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_advpose.config import SplitConfig
from pose_advpose.splits import held_out_ids, keep_split, published_ids
from pose_core.config import DataConfig
from pose_core.errors import ConfigError, DataError
from pose_core.layouts.reader import AnnotatedSet, read_dataset
from pose_testing.annotations import coco_content, person, write_coco


def test_the_published_ids_are_complete() -> None:
    ids = held_out_ids(SplitConfig(valid_ids="published"))
    assert ids == published_ids()
    assert (len(ids), min(ids), max(ids), sum(ids)) == (500, 36, 574717, 137772033)


def test_ids_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("3  # a comment\n\n1\n")
    assert held_out_ids(SplitConfig(valid_ids=str(file))) == {1, 3}
    assert held_out_ids(SplitConfig()) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ntwo\n", r"ids\.txt, line 2: 'two' is not an image id"),
        ("1\n-2\n", r"line 2: '-2' is not an image id"),
        ("1\n2.0\n", r"line 2: '2\.0' is not an image id"),
        ("7\n1\n7\n", r"ids\.txt, line 3: image id 7 is on line 1 already"),
        ("# nothing\n", r"ids\.txt contains no image id"),
    ],
)
def test_bad_lists_of_ids_are_named_by_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        held_out_ids(SplitConfig(valid_ids=str(file)))


def test_lists_that_are_not_text_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; name a file .* or use 'published'"):
        held_out_ids(SplitConfig(valid_ids=str(tmp_path / "none.txt")))
    (tmp_path / "ids.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        held_out_ids(SplitConfig(valid_ids=str(tmp_path / "ids.bin")))


def read_five(root: Path) -> AnnotatedSet:
    """Write and read images 1 to 5: 4 has a person without labeled joints, 5 has no people."""
    content = coco_content(images=5, people=1)
    blank = person(40, 4, num_keypoints=0, keypoints=[0] * 51)
    content["annotations"] = [*content["annotations"][:3], blank]
    write_coco(root, content, "train2014")
    data = DataConfig(root=str(root), train="train2014", val="train2014", on_bad_image="skip")
    return read_dataset(data, "train2014", keep_unlabeled=True)


def test_training_skips_the_held_out_images(tmp_path: Path) -> None:
    found = read_five(tmp_path)
    split = {
        training: [
            record.image_id
            for record in keep_split(found.records, {2, 5}, training=training, file=found.annotation_file)
        ]
        for training in (True, False)
    }
    assert split == {True: [1, 3], False: [2, 5]}


def test_without_a_list_training_still_needs_labeled_people(tmp_path: Path) -> None:
    found = read_five(tmp_path)
    trained = keep_split(found.records, None, training=True, file=found.annotation_file)
    assert [record.image_id for record in trained] == [1, 2, 3]
    assert keep_split(found.records, None, training=False, file=found.annotation_file) == found.records


@pytest.mark.parametrize("training", [True, False])
def test_unknown_ids_are_refused(training: bool, tmp_path: Path) -> None:
    found = read_five(tmp_path)
    message = r"7 of 8 image ids are not among the images of .*train2014\.json: 11, 12, 13, 14, 15, …; set data\.train"
    with pytest.raises(DataError, match=message):
        keep_split(found.records, {1, *range(11, 18)}, training=training, file=found.annotation_file)


def test_ids_of_missing_images_are_known(tmp_path: Path) -> None:
    read_five(tmp_path)
    (tmp_path / "images" / "train2014" / f"{2:012d}.jpg").unlink()
    data = DataConfig(root=str(tmp_path), train="train2014", on_bad_image="skip")
    found = read_dataset(data, "train2014", keep_unlabeled=True)
    kept = keep_split(found.records, {2, 3}, training=False, file=found.annotation_file)
    assert [record.image_id for record in kept] == [3]


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    found = read_five(tmp_path)
    with pytest.raises(DataError, match=r"none of 5 images is left to train on: split\.valid_ids holds out 3"):
        keep_split(found.records, {1, 2, 3}, training=True, file=found.annotation_file)
