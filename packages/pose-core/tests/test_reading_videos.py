"""Videos that are damaged, too large, or name other files; and the file that a video is written to."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_core.errors import DataError, PoseError
from pose_core.inference.video import open_video, read_frames

av: Any = pytest.importorskip("av", reason="videos need the extra pose-core[video]")


def write(path: Path, sides: tuple[int, int] = (48, 64), count: int = 4) -> Path:
    from pose_core.inference.video_writing import video_writer

    with video_writer(path, 10) as film:
        for number in range(count):
            film(np.full((*sides, 3), 40 * number, np.uint8))
    return path


def test_the_limit_of_pixels_holds_for_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.mp4")
    monkeypatch.setenv("POSE_MAX_PIXELS", "3072")
    assert len(list(read_frames(file))) == 4
    monkeypatch.setenv("POSE_MAX_PIXELS", "3071")
    with pytest.raises(DataError, match=r"a\.mp4 cannot be read: a picture is too large: 64 x 48 pixels.*=3072$"):
        list(read_frames(file))


def test_a_picture_that_grows_on_the_way_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, sides in (("small", (48, 64)), ("large", (480, 640))):
        with av.open(str(tmp_path / f"{name}.ts"), "w") as file:
            stream = file.add_stream("mpeg4", rate=10)
            stream.height, stream.width, stream.pix_fmt = *sides, "yuv420p"
            for _ in range(3):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((*sides, 3), np.uint8), format="rgb24")))
            file.mux(stream.encode())
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes())
    assert {frame.image.shape for frame in read_frames(both)} == {(48, 64, 3), (480, 640, 3)}
    monkeypatch.setenv("POSE_MAX_PIXELS", "4000")
    shapes = set()
    with suppress(DataError):
        shapes.update(frame.image.shape for frame in read_frames(both))
    assert shapes <= {(48, 64, 3)}


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\n{file}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {file}\n"]
)
def test_playlists_are_no_videos(tmp_path: Path, text: str) -> None:
    write(tmp_path / "other.mp4")
    for suffix in (".mp4", ".m3u8"):
        file = tmp_path / f"list{suffix}"
        file.write_text(text.format(file="other.mp4"))
        with pytest.raises(DataError, match="cannot be read"):
            list(read_frames(file))


def test_damaged_videos_end_in_frames_or_a_data_error(tmp_path: Path) -> None:
    whole = np.frombuffer(write(tmp_path / "a.mp4").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    file = tmp_path / "b.mp4"
    for number in range(150):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 6)] = rng.integers(0, 256, 6)
        file.write_bytes(damaged[: rng.integers(0, len(whole)) if number % 5 == 0 else None].tobytes())
        with suppress(DataError), open_video(file) as video:
            for _, _ in zip(video.frames, range(20), strict=False):
                pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_pipes_are_no_videos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="is a pipe or a device"):
        list(read_frames(tmp_path / "a.mp4"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_video_is_not_written_through_links(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for name in (".a.part.mp4", "a.mp4"):
        (tmp_path / name).symlink_to(victim)
    write(tmp_path / "a.mp4")
    assert victim.read_text() == "kept"
    assert not (tmp_path / "a.mp4").is_symlink()
    assert len(list(read_frames(tmp_path / "a.mp4"))) == 4
    assert write(tmp_path / "none.mp4", count=0).exists() is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.part.mp4", "a.mp4", "victim"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PoseError, match=r"cannot write .*a\.mp4: Permission denied"):
        write(tmp_path / "a.mp4")
