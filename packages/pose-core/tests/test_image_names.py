"""Names of images lead nowhere but below their folder, the data root, or a folder that is allowed by name."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.config import DataConfig
from pose_core.data.images import missing_images
from pose_core.data.sources import image_source
from pose_core.errors import DataError
from pose_core.inference.inputs import find_inputs
from pose_core.layouts.check import check_dataset
from pose_core.layouts.reader import read_dataset
from pose_core.reading.names import check_name
from pose_core.structures import ImageRecord
from pose_testing.annotations import write_image

REFUSED = {
    "": "is empty",
    " ": "is empty",
    "../a.jpg": r"'\.\.'",
    "a/../../b.jpg": r"'\.\.'",
    "..": r"'\.\.'",
    "/etc/a.jpg": "is an absolute path",
    "C:/a.jpg": "is an absolute path",
    "C:a.jpg": "is an absolute path",
    "a\\b.jpg": "holds a backslash; write /",
    "..\\b.jpg": "holds a backslash",
    "a\0.jpg": "cannot be shown",
    "a\x1b]0;x\x07.jpg": "cannot be shown",
    "a\u202egpj.exe": "cannot be shown",
    "a\ud800.jpg": "cannot be shown",
    "a" * 5000: "has 5000 characters, of at most 4096",
}


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]) as error:
        check_name(name, "file.json: image name")
    assert str(error.value).startswith("file.json: image name ")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"image name \['a'\] is not text"):
        check_name(["a"], "image name")


@pytest.mark.parametrize(
    "name", ["000000000009.jpg", "train2017/1.jpg", "a b (1).JPG", "é/日本 😀.png", "..a/b..", ".a"]
)
def test_names_that_are_kept(name: str) -> None:
    assert check_name(name, "image name") == name


@given(name=st.text(st.sampled_from("ab./\\:\0 \n"), max_size=12))
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    try:
        check_name(name, "image name")
    except DataError:
        return
    path = os.path.normpath(f"/data/images/{name}")
    assert path == "/data/images" or path.startswith("/data/images/")


@pytest.fixture
def coco(tmp_path: Path) -> Callable[[str], DataConfig]:
    """Return a function that writes an annotation file for one image name, and returns how to read it."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "images" / "val2017").mkdir(parents=True)
    write_image(root / "images" / "val2017" / "a.jpg")
    write_image(tmp_path / "outside" / "a.jpg")

    def write(name: str) -> DataConfig:
        content = {"images": [{"id": 1, "file_name": name, "width": 8, "height": 8}], "annotations": []}
        (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
        return DataConfig(root=str(root))

    return write


def read(config: DataConfig) -> list[str]:
    return [record.source for record in read_dataset(config, "val2017").records]


def test_links_and_absolute_names_lead_out_of_a_data_set_only_where_allowed(
    coco: Callable[[str], DataConfig], tmp_path: Path
) -> None:
    images = tmp_path / "coco" / "images" / "val2017"
    (images / "link.jpg").symlink_to(tmp_path / "outside" / "a.jpg")
    (images / "folder").symlink_to(tmp_path / "outside")
    (images / "own.jpg").symlink_to("a.jpg")
    for name in ("link.jpg", "folder/a.jpg", str(tmp_path / "outside" / "a.jpg")):
        config = coco(name)
        with pytest.raises(DataError, match=rf"leads out of .*, to {tmp_path}/outside.*data\.allowed_folders") as error:
            read(config)
        assert "\n" not in str(error.value)
        report = check_dataset("coco", config.root, ["val2017"])
        assert not report.ok
        assert "data.allowed_folders" in str(report)
        allowed = config.model_copy(update={"allowed_folders": (str(tmp_path / "outside"),)})
        assert len(read(allowed)) == 1
        assert not check_dataset("coco", config.root, ["val2017"], allowed_folders=[str(tmp_path)]).splits[0].missing
    for name in ("a.jpg", "own.jpg", str(images / "a.jpg")):
        assert len(read(coco(name))) == 1
    with pytest.raises(DataError, match=r"'\.\./val2017/a\.jpg' leads out of its folder"):
        read(coco("../val2017/a.jpg"))


def test_the_root_and_the_folder_of_images_may_be_links(coco: Callable[[str], DataConfig], tmp_path: Path) -> None:
    config = coco("a.jpg")
    images = tmp_path / "coco" / "images"
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "coco")
    assert len(read(config)) == 1
    assert len(read(config.model_copy(update={"root": str(tmp_path / "link")}))) == 1


def test_an_archive_that_a_name_leads_to_is_within_its_folder(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.zip").symlink_to(tmp_path / "secret.zip")
    with pytest.raises(DataError, match=r"leads out of .*images, to .*secret\.zip"):
        image_source(tmp_path / "images", "x.zip@a.jpg")
    with pytest.raises(DataError, match="leads out of its folder"):
        image_source(tmp_path / "images.zip", "../a.jpg")


def test_many_images_take_no_time(tmp_path: Path) -> None:
    names = [f"{number:012d}.jpg" for number in range(20_000)]
    for name in names:
        (tmp_path / name).touch()
    start = time.process_time()
    assert all(str(tmp_path / name) for name in names)
    joined = time.process_time()
    records = [ImageRecord(number, image_source(tmp_path, name)) for number, name in enumerate(names)]
    assert missing_images(records) == []
    assert time.process_time() - joined < 10 * (joined - start)  # opening or resolving each takes much longer


def test_links_out_of_a_folder_of_inputs_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    write_image(folder / "a.jpg")
    write_image(tmp_path / "outside" / "b.jpg")
    (folder / "b.jpg").symlink_to(tmp_path / "outside" / "b.jpg")
    (folder / "c.jpg").symlink_to("a.jpg")
    (folder / "loop").symlink_to(folder)
    (folder / "other").symlink_to(tmp_path / "outside")
    with caplog.at_level(logging.WARNING):
        found = find_inputs([folder], tmp_path / "out", tmp_path)
    assert [each.file.name for each in found] == ["a.jpg", "c.jpg"]
    assert caplog.messages == [
        f"1 link out of the folder {folder} left out, such as b.jpg; to use a file outside, name it"
    ]
    assert len(find_inputs([folder / "b.jpg"], tmp_path / "out", tmp_path)) == 1
