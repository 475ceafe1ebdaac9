"""Image bytes from folders and archives, and errors for damaged ones."""

from __future__ import annotations

import multiprocessing
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_core.data.images import (
    decode_bgr,
    image_exists,
    is_truncated,
    jpeg_size,
    missing_images,
    open_image,
)
from pose_core.data.sources import find_images, image_source
from pose_core.errors import DataError
from pose_core.structures import ImageRecord
from pose_testing.annotations import write_image


def packed(folder: Path, archive: Path, below: str) -> Path:
    """Write the images of a folder to an archive, with names prefixed by ``below``, and return the archive."""
    with zipfile.ZipFile(archive, "w") as file:
        for image in sorted(folder.iterdir()):
            file.write(image, f"{below}{image.name}")
    return archive


def test_color_order(tmp_path: Path) -> None:
    pixels = write_image(tmp_path / "a.jpg")
    np.testing.assert_array_equal(open_image(str(tmp_path / "a.jpg"), "bgr"), pixels)
    np.testing.assert_array_equal(open_image(str(tmp_path / "a.jpg"), "rgb"), pixels[..., ::-1])


@pytest.mark.parametrize("below", ["", "train2017/", "images/"])
@pytest.mark.parametrize("asked", ["train2017.zip@a.jpg", "train2017.zip@/a.jpg", "train2017.zip@{below}a.jpg"])
def test_archive_members_are_found_in_either_layout(tmp_path: Path, below: str, asked: str) -> None:
    pixels = write_image(tmp_path / "train2017" / "a.jpg")
    packed(tmp_path / "train2017", tmp_path / "train2017.zip", below)
    source = f"{tmp_path}/{asked.format(below=below)}"
    np.testing.assert_array_equal(open_image(source, "bgr"), pixels)
    assert image_exists(source)


def test_a_folder_wins_over_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "train2017"
    write_image(folder / "a.jpg")
    archive = packed(folder, tmp_path / "train2017.zip", "")
    assert find_images(folder) == folder
    (folder / "a.jpg").unlink()
    folder.rmdir()
    assert find_images(folder) == archive
    assert image_source(archive, "a.jpg") == f"{archive}@a.jpg"
    archive.unlink()
    with pytest.raises(DataError, match=r"train2017 or the archive .*train2017\.zip"):
        find_images(folder)


def test_missing_images_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.write(tmp_path / "a.jpg", "b/a.jpg")
    names = ["a.jpg", "none.jpg", "b.zip@a.jpg", "b.zip@none.jpg", "nowhere/a.jpg"]
    records = [ImageRecord(i, f"{tmp_path}/{name}") for i, name in enumerate(names)]
    assert [record.image_id for record in missing_images(records)] == [1, 3, 4]
    for record in records[1:4:2]:
        with pytest.raises(DataError, match=r"none\.jpg does not exist"):
            open_image(record.source)


def test_damaged_images_and_archives(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    bad = {"short.jpg": content[:40], "cut.jpg": content[:-300], "empty.jpg": b"", "text.jpg": b"not a picture"}
    for name, damaged in bad.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{name} does not decode \({len(damaged)} bytes\)"):
            open_image(str(tmp_path / name))
    (tmp_path / "bad.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"bad\.zip is not a readable zip"):
        open_image(f"{tmp_path}/bad.zip@a.jpg")
    with pytest.raises(DataError, match=r"gone\.zip does not exist"):
        open_image(f"{tmp_path}/gone.zip@a.jpg")
    assert is_truncated(content[:-400])
    assert not is_truncated(content)


def test_orientation_in_exif_is_ignored(tmp_path: Path) -> None:
    pixels = write_image(tmp_path / "a.jpg", 64, 48)
    plain = (tmp_path / "a.jpg").read_bytes()
    # A minimal big-endian EXIF block with one entry: orientation (0x0112) = 6, a quarter turn.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    block = b"Exif\0\0" + tiff
    (tmp_path / "turned.jpg").write_bytes(
        plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]
    )
    assert cv2.imread(str(tmp_path / "turned.jpg")).shape == (64, 48, 3)  # the block is understood
    np.testing.assert_array_equal(open_image(str(tmp_path / "turned.jpg"), "bgr"), pixels)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_one_archive_serves_several_processes(tmp_path: Path, start: str) -> None:
    folder = tmp_path / "train2017"
    pixels = [write_image(folder / f"{i}.jpg", seed=i) for i in range(6)]
    archive = packed(folder, tmp_path / "train2017.zip", "train2017/")
    sources = [f"{archive}@{i}.jpg" for i in range(6)] * 10
    open_image(sources[0])  # opens the archive in this process, whose handle a forked child inherits
    # What a child runs must be importable there, which a test module is not.
    job = partial(open_image, color="bgr")
    with multiprocessing.get_context(start).Pool(2) as pool:
        for number, found in enumerate(pool.map_async(job, sources, chunksize=5).get(timeout=60)):
            np.testing.assert_array_equal(found, pixels[number % 6])


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
def test_a_jpeg_states_its_size_in_front(options: list[int]) -> None:
    for width, height in ((7, 301), (640, 427), (1, 1)):
        content = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8), options)[1].tobytes()
        assert jpeg_size(content) == (width, height)
        # Other segments, such as EXIF with a thumbnail of its own, and padding come first.
        thumbnail = cv2.imencode(".jpg", np.zeros((3, 5, 3), np.uint8))[1].tobytes()
        segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
        assert jpeg_size(content[:2] + segment + b"\xff\xff" + content[3:]) == (width, height)
    assert jpeg_size(content[:12]) is None
    assert jpeg_size(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()) is None
    assert jpeg_size(b"") is None


@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_a_reduced_image_has_the_means_of_blocks(reduce: int) -> None:
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8), (96, 80))
    content = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    whole = decode_bgr(content, "a.jpg").astype(float)
    blocks = whole.reshape(80 // reduce, reduce, 96 // reduce, reduce, 3).mean((1, 3))
    # The chroma of a JPEG is coarser than its luminance, and grows in another way at each size.
    assert np.abs(decode_bgr(content, "a.jpg", reduce).mean(2) - blocks.mean(2)).max() < 4
    assert decode_bgr(cv2.imencode(".jpg", smooth[:77, :91])[1].tobytes(), "b.jpg", reduce).shape[:2] == (
        -(-77 // reduce),
        -(-91 // reduce),
    )


def test_an_archive_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name / name)
        packed(tmp_path / name, tmp_path / "new.zip", "")
        (tmp_path / "new.zip").replace(tmp_path / "images.zip")
        assert image_exists(f"{tmp_path}/images.zip@{name}")
    assert not image_exists(f"{tmp_path}/images.zip@a.jpg")
