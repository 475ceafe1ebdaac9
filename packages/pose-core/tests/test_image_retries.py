"""An annotated image that cannot be read for a moment does not end a training; one that stays away does, soon."""

from __future__ import annotations

import errno
import io
import logging
import os
import pickle
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from pose_core.bottomup.dataset import BottomUpDataset
from pose_core.bottomup.evaluate import ViewedImages
from pose_core.bottomup.predictor import View
from pose_core.config import DataConfig
from pose_core.data import images
from pose_core.data.images import open_annotated, open_image, read_annotated
from pose_core.engine.interrupt import interruptible
from pose_core.errors import DataError, UnreadableError
from pose_core.layouts.reader import read_dataset
from pose_core.reading import patience
from pose_core.reading.json_text import read_json
from pose_core.skeleton import SKELETONS
from pose_core.structures import ImageRecord, Person
from pose_core.synthetic import write_dataset
from pose_core.topdown.dataset import TopDownDataset
from pose_core.topdown.device_decode import EncodedCrops
from pose_testing.annotations import write_image

SKELETON = SKELETONS["coco17"]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (0.05, 0.25, 0.5))
    monkeypatch.setattr(images, "_in_vain", [])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_image(tmp_path / "images" / "a.jpg")
    return tmp_path / "images" / "a.jpg"


@contextmanager
def away(path: Path, seconds: float = 0.15) -> Iterator[None]:
    """Move a file or folder away, and back after some time."""
    hidden = path.with_name(f"{path.name}.away")
    path.rename(hidden)
    back = threading.Timer(seconds, lambda: hidden.rename(path))
    back.start()
    try:
        yield
    finally:
        back.join()


def record(picture: Path) -> ImageRecord:
    joints = np.ones((17, 3), np.float32)
    return ImageRecord(1, str(picture), (Person(joints, 1, box=(0.0, 0.0, 8.0, 8.0), area=64.0),))


def views(width: int, height: int) -> list[View]:
    return []


READERS: dict[str, Callable[[ImageRecord], object]] = {
    "crops": lambda found: TopDownDataset([found], SKELETON, input_size=(32, 32))[0],
    "encoded crops": lambda found: EncodedCrops(TopDownDataset([found], SKELETON, input_size=(32, 32)))[0],
    "whole images": lambda found: BottomUpDataset([found], SKELETON, input_size=32, output_sizes=[8])[0],
    "evaluated images": lambda found: ViewedImages([found], views, "rgb", skip=False)[0],
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_picture_that_comes_back_is_read(read: Callable[[ImageRecord], object], picture: Path) -> None:
    with away(picture.parent):
        read(record(picture))


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_picture_that_stays_away_is_an_error_soon(read: Callable[[ImageRecord], object], picture: Path) -> None:
    picture.unlink()
    start = time.monotonic()
    with pytest.raises(DataError, match=r"a\.jpg does not exist.*tried again for 0\.8 s.*--resume"):
        read(record(picture))
    assert 0.8 <= time.monotonic() - start < 5


def test_the_wait_is_said_once(picture: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), away(picture):
        read_annotated(str(picture))
    assert caplog.messages == [f"image {picture} does not exist; trying again for 0.8 s"]


def test_a_loaders_process_waits_too(picture: Path) -> None:
    data = TopDownDataset([record(picture)], SKELETON, input_size=(32, 32))
    with away(picture):
        (batch,) = DataLoader(data, batch_sampler=[[0]], collate_fn=data.collate, num_workers=1)
    assert batch.valid.all()


def test_an_archive_with_a_stale_handle_is_opened_again(picture: Path) -> None:
    archive = picture.parent.with_name("images.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(picture, "a.jpg")
    source = f"{archive}@a.jpg"
    expected = open_annotated(source)
    stale = images.open_archive(str(archive))

    class Stale(io.RawIOBase):
        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    assert stale.file.fp is not None
    stale.file.fp.close()
    stale.file.fp = Stale()  # type: ignore[assignment]
    with pytest.raises(DataError, match="Stale file handle"):
        open_image(source)
    np.testing.assert_array_equal(open_annotated(source), expected)
    assert images.open_archive(str(archive)) is not stale


def test_an_archive_that_comes_back_is_read(picture: Path) -> None:
    archive = picture.parent.with_name("images.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(picture, "a.jpg")
    with away(archive):
        read_annotated(f"{archive}@a.jpg")


def test_what_no_waiting_helps_fails_at_once(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (60.0,))
    archive = picture.parent.with_name("images.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.write(picture, "a.jpg")
    for source in (f"{archive}@b.jpg", str(picture.parent), str(picture / "b.jpg")):
        with pytest.raises(DataError):
            read_annotated(source)
    picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="does not decode"):
        open_annotated(str(picture))


def test_a_users_own_picture_is_not_waited_for(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (60.0,))
    picture.unlink()
    with pytest.raises(DataError, match="does not exist"):
        open_image(str(picture))


def test_skipping_many_pictures_takes_no_longer_than_skipping_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", waits.append)
    found = [record(tmp_path / f"{number}.jpg") for number in range(50)]
    data = TopDownDataset(found, SKELETON, input_size=(32, 32), on_bad_image="skip")
    assert not any(bool(data[index].valid) for index in range(50))
    assert len(waits) == images.MAX_IN_VAIN * len(patience.WAITS)


def test_a_picture_that_comes_back_is_not_skipped(picture: Path) -> None:
    data = TopDownDataset([record(picture)], SKELETON, input_size=(32, 32), on_bad_image="skip")
    with away(picture):
        assert data[0].valid


def test_a_signal_during_the_wait_is_heeded(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (0.3, 60.0))
    picture.unlink()
    # The first one only asks the loop to stop after its step; the second one stops at once.
    timers = [threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)) for after in (0.1, 0.5)]
    for timer in timers:
        timer.start()
    start = time.monotonic()
    with interruptible() as interrupt, pytest.raises(KeyboardInterrupt):
        read_annotated(str(picture))
    assert interrupt.asked
    assert time.monotonic() - start < 10


def test_the_error_crosses_processes() -> None:
    again = pickle.loads(pickle.dumps(UnreadableError("image a.jpg does not exist")))
    assert isinstance(again, DataError)
    assert again.exit_code == 3


def test_annotations_that_were_there_before_are_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    write_dataset(root, images=2, val_images=2, people=(1, 1), size=(64, 64), seed=3)
    config = DataConfig(root=str(root))
    read_dataset(config, "train2017")
    with caplog.at_level(logging.WARNING), away(root):
        assert len(read_dataset(config, "val2017").records) == 2
    assert "trying again" in caplog.text
    file = root / "annotations/person_keypoints_val2017.json"
    with away(file):
        read_json(file)


def test_a_data_set_that_was_never_there_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "WAITS", (60.0,))
    with pytest.raises(DataError, match="does not exist"):
        read_dataset(DataConfig(root=str(tmp_path / "typo")), "train2017")
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "typo.json")
