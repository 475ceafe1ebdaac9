"""Reading files again only once they have changed."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from pose_core.data.kept_reading import KeptReading


class Reader:
    """A reading of a file that counts how often it is read."""

    def __init__(self, file: Path, *, keeps: bool = True) -> None:
        self.file, self.keeps, self.times = file, keeps, 0

    def read(self) -> str:
        self.times += 1
        return self.file.read_text()

    def files(self, value: str) -> list[Path] | None:
        return [self.file] if self.keeps else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file that was written an hour ago."""
    path = tmp_path / "file"
    path.write_text("one")
    age(path, 3600)
    return path


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_a_file_is_read_once(file: Path) -> None:
    reader = Reader(file)
    kept = KeptReading(reader.read, reader.files)
    assert [kept(), kept()] == ["one", "one"]
    assert reader.times == 1


def test_a_changed_file_is_read_again(file: Path) -> None:
    reader = Reader(file)
    kept = KeptReading(reader.read, reader.files)
    kept()
    file.write_text("two")
    age(file, 3600)
    assert kept() == "two", "its time has changed"
    time_before = file.stat()
    file.write_text("three")
    os.utime(file, ns=(time_before.st_atime_ns, time_before.st_mtime_ns))
    assert kept() == "three", "its size has changed"
    assert reader.times == 3


def test_what_may_still_change_is_not_kept(file: Path) -> None:
    reader = Reader(file)
    kept = KeptReading(reader.read, reader.files)
    age(file, 0)
    assert kept() == "one"
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert kept() == "two", "size and time are the same, but it was young"
    never = KeptReading(reader.read, Reader(file, keeps=False).files)
    age(file, 3600)
    reader.times = 0
    assert [never(), never()] == ["two", "two"]
    assert reader.times == 2


def test_a_file_that_is_away_for_a_moment_is_kept(file: Path) -> None:
    reader = Reader(file)
    kept = KeptReading(reader.read, reader.files)
    kept()
    file.rename(file.with_name("away"))
    assert kept() == "one"
    assert reader.times == 1


def test_another_process_reads_for_itself(file: Path) -> None:
    kept = KeptReading(Reader(file).read, Reader(file).files)
    kept()
    assert b"one" not in pickle.dumps(kept)
    assert pickle.loads(pickle.dumps(kept))() == "one"
