"""The cache of a data set's people: equal to reading the files again, and never stale."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pose_core.config import DataConfig
from pose_core.digests import digest_of_arrays
from pose_core.errors import DataError
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.topdown import person_table
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.person_table import PersonTable, read_table


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """Return a data set whose annotation file counts as large, with its own cache folder."""
    write_dataset(tmp_path / "data", layout="coco", images=6, val_images=2, people=(1, 3), size=(120, 90))
    monkeypatch.setattr(person_table, "WORTH", 0)
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    return DataConfig(root=str(tmp_path / "data"))


def same(one: PersonTable, other: PersonTable) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / "people").glob("*"))


def test_the_cache_holds_what_reading_gives(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = read_table(config, "train2017", 0.75)
    assert len(cached(tmp_path)) == 1

    def never(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(person_table, "_read", never)
    second, problems = read_table(config, "train2017", 0.75)
    assert same(first, second)
    assert problems == ""
    # Mapped arrays serve the data set as well.
    data = TopDownDataset(second, get_skeleton("coco17"), input_size=(48, 64))
    assert data[len(data) - 1].images.shape == (64, 48, 3)


def test_whatever_matters_makes_a_cache_of_its_own(config: DataConfig, tmp_path: Path) -> None:
    before, _ = read_table(config, "train2017", 0.75)
    assert not same(before, read_table(config, "train2017", 1.0)[0])
    assert not same(before, read_table(config, "val2017", 0.75)[0])
    file = tmp_path / "data" / "annotations" / "person_keypoints_train2017.json"
    text, status = file.read_text(), file.stat()
    content = json.loads(text)
    gone = content["annotations"].pop()
    file.write_text(json.dumps(content).ljust(len(text)))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    after, _ = read_table(config, "train2017", 0.75)
    assert gone["id"] in before.annotation_id
    assert gone["id"] not in after.annotation_id


def test_a_missing_image_is_still_found_out(config: DataConfig, tmp_path: Path) -> None:
    read_table(config, "train2017", 0.75)
    next((tmp_path / "data" / "images" / "train2017").iterdir()).unlink()
    with pytest.raises(DataError, match="does not exist"):
        read_table(config, "train2017", 0.75)
    _, problems = read_table(config.model_copy(update={"on_bad_image": "skip"}), "train2017", 0.75)
    assert "image missing" in problems
    _, again = read_table(config.model_copy(update={"on_bad_image": "skip"}), "train2017", 0.75)
    assert again == problems


def test_a_damaged_cache_is_made_anew(config: DataConfig, tmp_path: Path) -> None:
    first, _ = read_table(config, "train2017", 0.75)
    (folder,) = cached(tmp_path)
    (folder / "joints.npy").write_bytes(b"damaged")
    assert same(first, read_table(config, "train2017", 0.75)[0])
    assert (folder / "joints.npy").stat().st_size > 100


def test_small_files_are_not_cached(config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_table, "WORTH", 10**9)
    read_table(config, "train2017", 0.75)
    assert not cached(tmp_path)


@pytest.mark.parametrize("harm", ["shorter", "other numbers", "empty", "no notes", "forged", "forged rows"])
def test_a_damaged_cache_is_rebuilt(config: DataConfig, tmp_path: Path, harm: str) -> None:
    first, _ = read_table(config, "train2017", 0.75)
    folder = cached(tmp_path)[0]
    joints = np.load(folder / "joints.npy")
    if harm == "shorter":
        np.save(folder / "joints.npy", joints[:-1])
    elif harm == "other numbers":
        np.save(folder / "joints.npy", joints + 1)
    elif harm == "empty":
        (folder / "joints.npy").write_bytes(b"")
    elif harm == "no notes":
        (folder / "problems.json").write_text("[]")
    else:
        table = first._replace(joints=joints[:, :5]) if harm == "forged" else first._replace(image=first.image + 100)
        np.save(folder / "joints.npy", table.joints)
        np.save(folder / "image.npy", table.image)
        (folder / "problems.json").write_text(json.dumps({"problems": "", "digest": digest_of_arrays(table._asdict())}))
    assert same(first, read_table(config, "train2017", 0.75)[0])
    assert np.array_equal(np.load(folder / "joints.npy"), joints)


def test_a_cache_that_cannot_be_written_is_a_warning(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "file"))  # not a folder
    with pytest.warns(UserWarning, match="cannot write .*: Not a directory; set POSE_HOME"):
        table, _ = read_table(config, "train2017", 0.75)
    assert len(table.joints)


def test_the_folder_of_caches_is_private(config: DataConfig, tmp_path: Path) -> None:
    first, _ = read_table(config, "train2017", 0.75)
    place = tmp_path / "home" / "people"
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)
    (place / "planted").write_text("")
    assert same(first, read_table(config, "train2017", 0.75)[0])
    assert place.stat().st_mode & 0o777 == 0o700
    assert not (place / "planted").exists()


def test_a_folder_of_another_user_is_not_used(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = read_table(config, "train2017", 0.75)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.warns(UserWarning, match="people is not a folder of this user's own; set POSE_HOME"):
        assert same(first, read_table(config, "train2017", 0.75)[0])


def test_a_link_to_another_folder_is_not_used(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "people").symlink_to(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="is not a folder of this user's own"):
        read_table(config, "train2017", 0.75)
    assert not list((tmp_path / "elsewhere").iterdir())
