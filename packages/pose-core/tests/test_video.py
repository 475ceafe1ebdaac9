"""Videos in and out: frames with their times, upright; sound; streams and cameras; what a prediction leaves behind."""

from __future__ import annotations

import argparse
import csv
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_core.cli import main
from pose_core.cli.video_arguments import add_video_arguments, video_options
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.inference.results import Summary, predict_paths
from pose_core.inference.video import is_camera, is_stream, open_video, read_frames
from pose_core.inference.video_results import VideoOptions, predict_video, predict_video_frames
from pose_core.inference.video_writing import video_writer
from pose_core.plugins.predictors import Predictor
from pose_core.plurals import counted
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.detectors import FileDetector, whole_image
from pose_core.verbosity import Verbosity, set_verbosity

COCO = SKELETONS["coco17"]
UNEVEN = [0.5, 0.53, 0.6, 0.7, 1.0, 1.02, 1.1, 1.4, 1.5]

av: Any = pytest.importorskip("av", reason="needs PyAV")


def picture(step: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return a frame of a white square that moves to the right."""
    image = np.full((height, width, 3), 30, np.uint8)
    cv2.rectangle(image, (8 + 2 * step, 24), (24 + 2 * step, 40), (255, 255, 255), -1)
    return image


def middle(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(image.mean(2) > 150)
    return float(columns.mean()), float(rows.mean())


def film(file: Path, frames: int = 20, fps: float = 20, **size: int) -> Path:
    with video_writer(file, fps) as write:
        for step in range(frames):
            write(picture(step, **size))
    return file


def film_with_sound(file: Path, times: Sequence[float] = UNEVEN, codec: str = "aac") -> Path:
    """Write frames at uneven times, and sound from 0 to half a second after the last."""
    with av.open(str(file), "w") as output:
        pictures = output.add_stream("mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 96, 64, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 60_000)
        sound = output.add_stream(codec, rate=44100, layout="mono")
        for step, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(step), format="rgb24")
            frame.pts, frame.time_base = round(time * 60_000), Fraction(1, 60_000)
            output.mux(pictures.encode(frame))
        size = sound.codec_context.frame_size or 1024
        kind = sound.codec_context.format.name
        for start in range(0, round((times[-1] + 0.5) * 44100), size):
            wave = 0.3 * np.sin(np.arange(start, start + size) / 9)[None]
            wave = (wave * 32000).astype(np.int16) if kind.startswith("s16") else wave.astype(np.float32)
            samples = av.AudioFrame.from_ndarray(wave, format=kind, layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 44100, start, Fraction(1, 44100)
            output.mux(sound.encode(samples))
        output.mux(pictures.encode())
        output.mux(sound.encode())
    return file


def sound_of(file: Path) -> list[tuple[float, bytes]]:
    with av.open(str(file)) as container:
        packets = container.demux(container.streams.audio) if container.streams.audio else []
        return [(round(float(p.pts * p.time_base), 4), bytes(p)) for p in packets if p.dts is not None]


class Square(PosePredictor):
    """A predictor that finds one person with all joints around the middle of the white square, in pools of five."""

    needs_boxes = False

    def __init__(self) -> None:
        self.skeleton = COCO
        self.config = TopDownConfig.model_construct(method="square")

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        pool = []
        for name, image, _, _ in images:
            pool.append((name, self.find(image)))
            if len(pool) == 5:
                yield from pool
                pool = []
        yield from pool

    def find(self, image: np.ndarray) -> Poses:
        points = np.array(middle(image)) + 6 * np.stack([np.cos(np.arange(17)), np.sin(np.arange(17))], 1)
        return Poses(points[None], np.ones((1, 17)), np.ones(1), COCO)

    def predict_batch(self, batch: object) -> list[tuple[np.ndarray, Poses]]:
        raise AssertionError("nothing is trained here")


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    file = film(tmp_path / "deep" / "clip.mp4")
    assert [p.name for p in file.parent.iterdir()] == ["clip.mp4"], "nothing half-written stays"
    with open_video(file) as video:
        assert (video.rate, video.count, video.live) == (20, 20, False)
        frames = list(video.frames)
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx([n / 20 for n in range(20)], abs=1e-3)
    for step, frame in enumerate(frames):
        assert frame.image.shape == (64, 96, 3)
        assert middle(frame.image) == pytest.approx((16 + 2 * step, 32), abs=0.7)


def test_so_many_frames_a_second(tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4")
    assert [frame.number for frame in read_frames(file, 10)] == list(range(0, 20, 2))
    assert [frame.number for frame in read_frames(file, 8)] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert len(list(read_frames(file, 20))) == 20
    for fps in (25.0, 0.0, -1.0):
        with pytest.raises(ConfigError, match=rf"--fps {fps:g}: .*clip\.mp4 has 20 frames per second"):
            list(read_frames(file, fps))


def test_uneven_times_and_sound_are_kept(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "clip.mp4")
    predict_paths(Predictor(Square()), [source], tmp_path / "out")
    drawn = list(read_frames(tmp_path / "out" / "clip.mp4"))
    assert [frame.clock for frame in drawn] == pytest.approx(UNEVEN, abs=1e-3)
    assert [each["time"] for each in lines_of(tmp_path / "out" / "clip.jsonl")] == pytest.approx(
        [time - 0.5 for time in UNEVEN], abs=1e-3
    )
    before, after = sound_of(source), sound_of(tmp_path / "out" / "clip.mp4")
    assert before[: len(after)] == after, "the same packets at the same times"
    assert UNEVEN[-1] < after[-1][0] < before[-1][0], "sound ends with the last frame"


def test_the_sound_of_chosen_frames_fits_them(tmp_path: Path) -> None:
    source = film_with_sound(tmp_path / "clip.mp4")
    predict_paths(Predictor(Square()), [source], tmp_path / "out", video=VideoOptions(seconds=0.55))
    drawn = tmp_path / "out" / "clip.mp4"
    assert [frame.clock for frame in read_frames(drawn)] == pytest.approx(UNEVEN[:6], abs=1e-3)
    assert 1.0 < sound_of(drawn)[-1][0] < 1.2


def test_sound_that_an_mp4_cannot_hold_is_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = film_with_sound(tmp_path / "clip.avi", codec="adpcm_ms")
    assert sound_of(source)
    predict_paths(Predictor(Square()), [source], tmp_path / "out")
    assert len(list(read_frames(tmp_path / "out" / "clip.mp4"))) == len(UNEVEN)
    assert sound_of(tmp_path / "out" / "clip.mp4") == []
    assert re.search(r"clip\.avi: its sound \(adpcm_ms\) cannot be stored in an MP4 and is left out", caplog.text)


def turn(file: Path) -> None:
    """Set the display matrix of a video's first track: a quarter turn clockwise, as of a phone held upright.

    In QuickTime's matrix (a, b, u, c, d, v, x, y, w) a point (x, y) is shown at (ax + cy, bx + dy).
    """
    content = bytearray(file.read_bytes())
    header = content.index(b"tkhd") + 4
    matrix = header + (52 if content[header] else 40)
    assert struct.unpack_from(">9i", content, matrix) == (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    struct.pack_into(">9i", content, matrix, 0, 65536, 0, -65536, 0, 0, 64 * 65536, 0, 2**30)
    file.write_bytes(content)


def test_rotated_videos_are_upright(tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", frames=3)
    turn(file)
    predict_paths(Predictor(Square()), [file], tmp_path / "out")
    for step, frame in enumerate(read_frames(file)):
        assert frame.image.shape == (96, 64, 3)
        # A quarter turn clockwise takes (x, y) of an image of height 64 to (63 − y, x).
        assert middle(frame.image) == pytest.approx((63 - 32, 16 + 2 * step), abs=0.7)
    with av.open(str(tmp_path / "out" / "clip.mp4")) as container:
        shapes = {(f.width, f.height, f.rotation) for f in container.decode(video=0)}
    assert shapes == {(64, 96, 0)}


def test_colors_are_kept_and_marked(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = (200, 40, 60), (30, 180, 40)
    with video_writer(tmp_path / "clip.mp4", 25) as write:
        write(image)
    shown = next(read_frames(tmp_path / "clip.mp4")).image
    assert np.abs(shown[32, [10, 80]].astype(int) - image[32, [10, 80]]).max() <= 4
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frame = next(container.decode(video=0))
    luma = 16 + 219 / 255 * (np.array([0.2126, 0.7152, 0.0722]) @ [200, 40, 60])
    assert (frame.colorspace, frame.color_range) == (1, 1), "BT.709, limited range"
    assert int(frame.to_ndarray()[32, 10]) == pytest.approx(luma, abs=2)


def test_odd_sides_are_filled_up(tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", frames=3, width=95, height=63)
    assert next(read_frames(file)).image.shape == (64, 96, 3)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    with pytest.raises(DataError, match=r"clip\.mp4 does not exist"):
        list(read_frames(file))
    file.write_bytes(b"no film at all" * 50)
    with pytest.raises(DataError, match=r"clip\.mp4 cannot be read"):
        list(read_frames(file))
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        sound = output.add_stream("aac", rate=44100, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 44100
        output.mux(sound.encode(samples))
        output.mux(sound.encode())
    with pytest.raises(DataError, match=r"sound\.mp4 cannot be read: it has no pictures"):
        list(read_frames(tmp_path / "sound.mp4"))


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with video_writer(tmp_path / "clip.mp4", 10) as write:
            write(picture(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_without_pyav_files_are_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = film(tmp_path / "clip.mp4", frames=2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"videos needs PyAV: .* install .*av>="):
        predict_paths(Predictor(Square()), [file], tmp_path / "out")


def test_a_video_becomes_one_file_of_lines_and_a_drawn_video(tmp_path: Path) -> None:
    file = film(tmp_path / "in" / "clip.mp4")
    cv2.imwrite(str(tmp_path / "in" / "photo.jpg"), picture(3))
    out = tmp_path / "out"
    summary = predict_paths(Predictor(Square()), [tmp_path / "in"], out, video=VideoOptions(fps=10))
    assert (summary.images, summary.frames, summary.people) == (1, 10, 11)
    assert sorted(p.name for p in out.iterdir()) == ["clip.jsonl", "clip.mp4", "photo.jpg", "photo.json"]
    lines = lines_of(out / "clip.jsonl")
    assert [line["frame"] for line in lines] == list(range(0, 20, 2))
    assert [line["time"] for line in lines] == pytest.approx([n / 20 for n in range(0, 20, 2)], abs=1e-3)
    assert [[person["track_id"] for person in line["people"]] for line in lines] == [[1]] * 10
    x, y, score = lines[2]["people"][0]["keypoints"]["nose"]
    assert (x, y, score) == pytest.approx((24 + 6, 32, 1), abs=0.7)
    with open_video(out / "clip.mp4") as video:
        frames = list(video.frames)
        assert video.rate == 10
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(10)], abs=1e-3)
    assert not np.array_equal(frames[2].image, next(read_frames(file)).image)


def test_a_table_and_single_frames_on_request(tmp_path: Path) -> None:
    film(tmp_path / "clip.mp4", frames=4)
    options = VideoOptions(csv=True, frames=True, track=False)
    predict_paths(Predictor(Square()), [tmp_path / "clip.mp4"], tmp_path / "out", video=options)
    with (tmp_path / "out" / "clip.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert len(rows[0]) == 8 + 3 * 17
    assert (rows[0]["track_id"], rows[0]["box_x"]) == ("", "")
    assert (float(rows[1]["nose_x"]), float(rows[1]["nose_y"])) == pytest.approx((18 + 6, 32), abs=0.7)
    names = {p.name for p in (tmp_path / "out" / "clip").iterdir()}
    assert names == {f"frame_{n:06d}.{kind}" for n in range(4) for kind in ("json", "jpg")}
    assert json.loads((tmp_path / "out/clip/frame_000002.json").read_text()) == lines_of(tmp_path / "out/clip.jsonl")[2]


class Doubtful(Square):
    """Like Square, and the person of every third frame scores 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def find(self, image: np.ndarray) -> Poses:
        self.count += 1
        return replace(super().find(image), pose_scores=np.array([0.1 if self.count % 3 == 1 else 0.9]))


def test_people_who_score_less_are_left_out_before_they_are_tracked(tmp_path: Path) -> None:
    clip = film(tmp_path / "poses.mp4", frames=6)
    cv2.imwrite(str(tmp_path / "photo.png"), picture(1))
    inputs = [clip, tmp_path / "photo.png"]
    summary = predict_paths(Predictor(Doubtful()), inputs, tmp_path / "out", min_score=0.5, csv=True)
    assert (summary.people, summary.low_people) == (4, 3)
    lines = lines_of(tmp_path / "out" / "poses.jsonl")
    assert [len(line["people"]) for line in lines] == [1, 1, 0, 1, 1, 0]
    with (tmp_path / "out" / "poses.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["frame"], row["track_id"], row["pose_score"]) for row in rows] == [
        (str(number), "1", "0.9") for number in (0, 1, 3, 4)
    ]
    with (tmp_path / "out" / "images_poses.csv").open(newline="") as opened:
        assert list(csv.DictReader(opened)) == []
    found = predict_video_frames(Predictor(Doubtful()), clip, min_score=0.5)
    assert [len(poses) for _, poses in found] == [0, 1, 1, 0, 1, 1]
    with pytest.raises(ConfigError, match="'square' works without boxes; remove --draw-boxes"):
        predict_paths(Predictor(Square()), [clip], tmp_path / "out", boxes=True)


def test_boxes_are_drawn_into_frames(make_predictor: Callable[[], Predictor], tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", frames=2)
    detector: Any = lambda image, source=None: (np.array([[10.0, 10, 60, 40]]), np.ones(1))  # noqa: E731
    for out, boxes in (("plain", False), ("boxed", True)):
        predict_paths(make_predictor(), [clip], tmp_path / out, detector=detector, boxes=boxes)
    plain, boxed = (next(read_frames(tmp_path / out / "clip.mp4")).image.astype(int) for out in ("plain", "boxed"))
    assert (boxed - plain)[12:48, 70, 1].min() > 60


def test_lines_are_drawn_on_their_video_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = film_with_sound(tmp_path / "clip.mp4")
    predict_paths(Predictor(Square()), [clip], tmp_path / "out", video=VideoOptions(fps=5))
    predicted = list(read_frames(tmp_path / "out" / "clip.mp4"))
    lines = tmp_path / "out" / "clip.jsonl"
    words = ["draw", "--predictions", str(lines), "--images", str(clip)]
    assert main(words) == 0
    folder = tmp_path / "out" / "clip_drawn"
    people = counted(len(predicted), "person", "people")
    assert capsys.readouterr().out == f"{people} drawn on {counted(len(predicted), 'frame')}, written to {folder}\n"
    again = list(read_frames(folder / "clip.mp4"))
    assert [frame.time for frame in again] == [frame.time for frame in predicted]
    for one, other in zip(predicted, again, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 1
    sound = sound_of(folder / "clip.mp4")
    assert len(sound) > 20
    assert sound == sound_of(clip)[: len(sound)]
    assert main([*words, "--out", str(tmp_path / "bare"), "--min-score", "2"]) == 0
    assert "score less than --min-score 2: not drawn" in capsys.readouterr().out

    assert main(words) == 2  # exists
    assert main([*words, "--count", "2"]) == 2
    assert "clip.jsonl is of a video: --ground-truth and --count are for images" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "would overwrite the video" in capsys.readouterr().err
    lines.write_text(lines.read_text().replace('"frame": ', '"frame": 9'))
    assert main([*words, "--out", str(tmp_path / "other")]) == 3
    assert "no line for a frame" in capsys.readouterr().err
    assert main(["draw", "--predictions", str(lines), "--images", str(tmp_path)]) == 2
    lines.write_text('{"people": []}\n')
    assert main([*words, "--out", str(tmp_path / "other")]) == 3
    assert "clip.jsonl, line 1 is not a frame of a video" in capsys.readouterr().err
    assert not (tmp_path / "other" / "clip.mp4").exists()


def test_no_draw_writes_lines_alone_and_bad_videos_are_counted(tmp_path: Path) -> None:
    film(tmp_path / "good.mp4", frames=4)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    files = [tmp_path / "bad.mp4", tmp_path / "good.mp4"]
    summary = predict_paths(Predictor(Square()), files, tmp_path / "out", draw=False)
    assert (summary.frames, len(summary.unreadable)) == (4, 1)
    assert "bad.mp4 cannot be read" in str(summary)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.jsonl"]


def noisy_film(file: Path) -> bytes:
    """Write sixty frames that cannot be compressed well, and return the file's bytes."""
    noise = np.random.default_rng(0)
    with video_writer(file, 25) as write:
        for _ in range(60):
            write(np.kron(noise.integers(0, 255, (8, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8)))
    return file.read_bytes()


def test_a_cut_video_gives_the_frames_before_the_cut(tmp_path: Path) -> None:
    content = noisy_film(tmp_path / "whole.mp4")
    file = tmp_path / "clip.mp4"
    file.write_bytes(content[: len(content) // 2])
    summary = Summary(tmp_path)
    target = tmp_path / "out" / "clip"
    predict_video(Predictor(Square()), file, target, VideoOptions(), whole_image, summary)
    assert 10 < summary.frames < 50
    assert summary.frames == len(lines_of(target.with_suffix(".jsonl")))
    assert summary.frames == len(list(read_frames(target.with_suffix(".mp4"))))
    assert re.search(
        rf"clip\.mp4 ended early, after {summary.frames} frames: the file is cut off; .*; the results of "
        rf"{summary.frames} frames before that are complete",
        summary.unreadable[0],
    )
    found = predict_video_frames(Predictor(Square()), file)
    assert [next(found)[0].number for _ in range(summary.frames)] == list(range(summary.frames))
    with pytest.raises(DataError, match=f"after {summary.frames} frames: "):
        next(found)


def test_damaged_parts_are_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = noisy_film(tmp_path / "whole.mp4")
    half = len(content) // 2
    (tmp_path / "clip.mp4").write_bytes(content[:half] + bytes(3000) + content[half + 3000 :])
    frames = list(read_frames(tmp_path / "clip.mp4"))
    times = [frame.time for frame in frames]
    assert 40 < len(frames) < 60
    assert times == sorted(times)
    assert times[-1] == pytest.approx(59 / 25, abs=1e-3), "what comes after the damage is there, at its time"
    assert re.search(r"clip\.mp4: \d+ damaged parts? (was|were) left out", caplog.text)


@pytest.mark.parametrize("stage", ["detect", "predict", "draw", "encode"])
def test_an_error_in_any_stage_stops_all_and_leaves_nothing(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = film(tmp_path / "clip.mp4", frames=60)
    count = 0

    def fail(*_: object, **__: object) -> Any:
        nonlocal count
        count += 1
        if count == 8:
            raise PoseError(f"{stage} failed")

    detector: Any = whole_image
    predictor = Square()
    if stage == "detect":
        detector = lambda image, source=None: (fail(), whole_image(image))[1]  # noqa: E731
    elif stage == "predict":
        find = predictor.find
        predictor.find = lambda image: (fail(), find(image))[1]  # type: ignore[method-assign]
    elif stage == "draw":
        monkeypatch.setattr("pose_core.inference.drawn_people.draw_track_ids", fail)
    else:
        monkeypatch.setattr("pose_core.inference.video_writing._even", lambda image: (fail(), image)[1])
    threads = threading.active_count()
    summary = Summary(tmp_path)
    with pytest.raises(PoseError, match=f"{stage} failed"):
        predict_video(Predictor(predictor), file, tmp_path / "out" / "clip", VideoOptions(), detector, summary)
    assert not list((tmp_path / "out").iterdir())
    assert threading.active_count() == threads
    assert summary.frames == 0


def test_python_gets_frames_with_poses_and_can_stop(tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4")
    threads = threading.active_count()
    found = list(predict_video_frames(Predictor(Square()), file, frames_limit=7))
    assert [frame.number for frame, _ in found] == list(range(7))
    for frame, poses in found:
        assert poses.keypoints[0].mean(0) == pytest.approx(middle(frame.image), abs=0.7)
        assert poses.track_ids is not None
        assert poses.track_ids.tolist() == [1]
    assert next(iter(predict_video_frames(Predictor(Square()), file, track=False)))[1].track_ids is None
    stream = predict_video_frames(Predictor(Square()), file)
    next(stream)
    stream.close()
    assert threading.active_count() == threads
    with pytest.raises(ConfigError, match="--smooth needs tracking"):
        list(predict_video_frames(Predictor(Square()), file, track=False, smooth=True))


def test_people_are_found_by_a_detector_where_boxes_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = film(tmp_path / "clip.mp4", frames=3)
    asked: list[object] = []

    def build(name: str | None = None, **settings: object) -> Any:
        asked.append(name)
        return lambda image, source=None: (np.array([[1.0, 2, 30, 40]]), np.ones(1))

    monkeypatch.setattr("pose_core.inference.video_results.build_detector", build)

    class Boxes(Square):
        needs_boxes = True
        device = "cpu"

        def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
            for key, image, boxes, _ in images:
                yield key, replace(self.find(image), boxes=boxes)

    for detector in (None, "some_name"):
        for frame, poses in predict_video_frames(Predictor(Boxes()), file, detector=detector):
            assert poses.boxes is not None
            assert poses.boxes.tolist() == [[1.0, 2, 30, 40]]
            assert poses.image is frame.image
    assert asked == [None, "some_name"]
    list(predict_video_frames(Predictor(Square()), file))
    assert asked == [None, "some_name"], "a network that finds people needs no detector"


def test_the_command_line_has_all_settings() -> None:
    parser = argparse.ArgumentParser()
    add_video_arguments(parser)
    assert video_options(parser.parse_args([])) == VideoOptions()
    words = ["--fps", "5", "--frames-limit", "7", "--seconds", "1.5", "--no-track", "--frames"]
    expected = VideoOptions(fps=5, frames_limit=7, seconds=1.5, track=False, frames=True)
    assert video_options(parser.parse_args(words)) == expected
    assert video_options(parser.parse_args(["--smooth"])) == VideoOptions(smooth=True)
    for wrong in ("--smooth --no-track", "--frames-limit 0", "--seconds -1"):
        with pytest.raises(ConfigError, match=wrong.split()[0]):
            video_options(parser.parse_args(wrong.split()))


def test_boxes_cannot_name_frames(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[]")
    film(tmp_path / "clip.mp4", frames=2)
    predictor = Predictor(Square())
    with pytest.raises(ConfigError, match="'square' finds people by itself; remove --boxes"):
        predict_paths(predictor, [tmp_path / "clip.mp4"], tmp_path / "out", detector=FileDetector(boxes, 0.5))
    predictor.worker.needs_boxes = True
    with pytest.raises(ConfigError, match=r"clip\.mp4 is a video, and --boxes has no boxes for its frames"):
        predict_paths(predictor, [tmp_path / "clip.mp4"], tmp_path / "out", detector=FileDetector(boxes, 0.5))


class Camera:
    """A camera of twenty frames, then unplugged."""

    def __init__(self, device: int | str, frames: int = 20) -> None:
        self.left, self.device = frames, device

    def isOpened(self) -> bool:
        return self.device == 0

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 96.0, cv2.CAP_PROP_FRAME_HEIGHT: 64.0}.get(what, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        if self.left < 0:
            return False, None
        return True, cv2.cvtColor(picture(19 - self.left), cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        self.device = -1


def test_a_camera_is_read_until_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    summary = Summary(tmp_path)
    options = VideoOptions(frames_limit=10)
    predict_video(Predictor(Square()), "0", tmp_path / "out" / "camera_0", options, whole_image, summary)
    assert (summary.frames, summary.unreadable) == (10, [])
    lines = lines_of(tmp_path / "out" / "camera_0.jsonl")
    assert len(lines) == len(list(read_frames(tmp_path / "out" / "camera_0.mp4"))) == 10
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert times[0] == 0
    for line in lines:
        assert line["people"][0]["keypoints"]["nose"][0] == pytest.approx(16 + 2 * line["frame"] + 6, abs=0.7)


def test_an_unplugged_camera_and_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    summary = Summary(tmp_path)
    predict_video(Predictor(Square()), 0, tmp_path / "camera_0", VideoOptions(), whole_image, summary)
    assert summary.frames == len(lines_of(tmp_path / "camera_0.jsonl")) > 0
    assert re.search(r"camera 0 stopped, after 20 frames; the results of \d+ frames", summary.unreadable[0])
    with pytest.raises(DataError, match="camera 3 cannot be opened: connect it"):
        list(read_frames(3))


@contextmanager
def served(content: bytes, stated: int | None = None) -> Iterator[str]:
    """Serve a stream on this machine that breaks off after ``content`` if more bytes were ``stated``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.send_header("Content-Length", str(stated or len(content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live.ts"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def transport(tmp_path: Path) -> bytes:
    """Return a stream of thirty frames."""
    with video_writer(tmp_path / "live.ts", 15) as write:
        for step in range(30):
            write(picture(step))
    content = (tmp_path / "live.ts").read_bytes()
    (tmp_path / "live.ts").unlink()
    return content


def test_a_stream_is_predicted_while_it_arrives(tmp_path: Path, transport: bytes) -> None:
    summary = Summary(tmp_path)
    with served(transport) as url:
        assert is_stream(url)
        predict_video(Predictor(Square()), url, tmp_path / "live", VideoOptions(), whole_image, summary)
    assert (summary.frames, summary.unreadable) == (30, [])
    lines = lines_of(tmp_path / "live.jsonl")
    assert [line["time"] for line in lines] == pytest.approx([n / 15 for n in range(30)], abs=1e-3)
    assert len(list(read_frames(tmp_path / "live.mp4"))) == 30


def test_a_lost_connection_leaves_complete_results(tmp_path: Path, transport: bytes) -> None:
    summary = Summary(tmp_path)
    with served(transport[: len(transport) * 2 // 3], stated=len(transport)) as url:
        predict_video(Predictor(Square()), url, tmp_path / "live", VideoOptions(), whole_image, summary)
    assert 5 < summary.frames < 30
    assert summary.frames == len(lines_of(tmp_path / "live.jsonl")) == len(list(read_frames(tmp_path / "live.mp4")))
    assert re.search(rf"live\.ts .*after {summary.frames} frames: .*are complete", summary.unreadable[0])


def test_a_live_stream_that_falls_silent_leaves_complete_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pose_core.inference.video._PATIENCE", 2.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{taken.getsockname()[1]}"

    def send() -> None:
        with av.open(f"{url}?pkt_size=1316", "w", format="mpegts") as output:
            pictures = output.add_stream("mpeg4", rate=20)
            pictures.width, pictures.height, pictures.pix_fmt, pictures.gop_size = 96, 64, "yuv420p", 5
            for step in range(40):
                frame = av.VideoFrame.from_ndarray(picture(step), format="rgb24")
                frame.pts, frame.time_base = step, Fraction(1, 20)
                output.mux(pictures.encode(frame))
                time.sleep(0.03)
            output.mux(pictures.encode())

    sender = threading.Timer(0.5, send)
    sender.start()
    summary = Summary(tmp_path)
    predict_video(Predictor(Square()), url, tmp_path / "live", VideoOptions(), whole_image, summary)
    sender.join()
    assert 10 < summary.frames <= 40
    assert summary.frames == len(lines_of(tmp_path / "live.jsonl")) == len(list(read_frames(tmp_path / "live.mp4")))
    assert re.search(r"udp:.* ended early, after \d+ frames: no data came for 2 s; the results", summary.unreadable[0])


def test_nobody_answers(tmp_path: Path) -> None:
    with served(b"") as url:
        pass
    for address in (url, url.replace("//", "//user:secret@")):
        with pytest.raises(DataError, match=r"video http://127\.0\.0\.1:\d+/live\.ts cannot be read"):
            predict_video(Predictor(Square()), address, tmp_path / "x", VideoOptions(), whole_image, Summary(tmp_path))
    assert not list(tmp_path.iterdir())


def test_sources_are_told_apart() -> None:
    for word in (
        "rtsp://user:pw@10.0.0.7:554/h264",
        "http://host/x.m3u8?token=1",
        "https://host/a/live.ts",
        "udp://@:5",
    ):
        assert is_stream(word), word
    for word in ("https://host/clip.mp4", "clip.ts", "http://host/x.m3u8.jpg", "0"):
        assert not is_stream(word), word
    assert [word for word in ("0", "12", "-1", "0.5", "clip.mp4") if is_camera(word)] == ["0", "12"]


INTERRUPTED = """
import sys, time
from pathlib import Path
import cv2
sys.path.insert(0, {tests!r})
from test_video import Camera, Square
from pose_core.cli import guarded
from pose_core.inference.results import Summary
from pose_core.inference.video_results import VideoOptions, predict_video
from pose_core.plugins.predictors import Predictor
from pose_core.topdown.detectors import whole_image

class Slow(Square):
    def find(self, image):
        time.sleep(0.05)
        print("frame", flush=True)
        return super().find(image)

class Endless(Camera):
    def read(self):
        time.sleep(0.02)
        self.left = 20
        return super().read()

cv2.VideoCapture = Endless

def work():
    predict_video(Predictor(Slow()), {source!r}, Path({target!r}), VideoOptions(), whole_image, Summary(Path(".")))
    return 0

sys.exit(guarded(work))
"""


def interrupted(source: str, target: Path, times: int) -> tuple[int, str]:
    """Predict a video in a process that gets Ctrl-C after twenty frames; return its exit code and its messages."""
    code = INTERRUPTED.format(tests=str(Path(__file__).parent), source=source, target=str(target))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        for _ in range(20):
            assert process.stdout.readline() == "frame\n"
        process.send_signal(signal.SIGINT)
        if times == 2:
            assert any("press Ctrl-C again" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.parametrize("source", ["file", "camera"])
def test_an_interrupt_leaves_complete_results(source: str, tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", frames=200, fps=25)
    target = tmp_path / "out" / "clip"
    code, errors = interrupted(str(file) if source == "file" else "0", target, 1)
    assert code == (130 if source == "file" else 0), "Ctrl-C is how a camera is ended"
    count = len(lines_of(target.with_suffix(".jsonl")))
    assert 20 <= count < 200
    assert len(list(read_frames(target.with_suffix(".mp4")))) == count
    name = "clip.mp4" if source == "file" else "camera 0"
    assert f"{name}: stopped after {count} frames; the results until there are complete" in errors


@pytest.mark.slow
def test_a_second_interrupt_discards_the_results(tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", frames=200, fps=25)
    code, errors = interrupted(str(file), tmp_path / "out" / "clip", 2)
    assert code == 130, errors
    assert not list((tmp_path / "out").iterdir())


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pose_core.inference.video_results.LINES", 0.0)
    predict_paths(Predictor(Square()), [film(tmp_path / "clip.mp4", frames=10)], tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"clip\.mp4: 2 frames of 10, \d+ s left, [\d.]+ frames/s", lines[0])
    assert re.fullmatch(r"clip\.mp4: 10 frames in \d+ s, [\d.]+ frames/s", lines[-1])
    set_verbosity(Verbosity.QUIET)
    try:
        predict_paths(Predictor(Square()), [tmp_path / "clip.mp4"], tmp_path / "out")
    finally:
        set_verbosity(Verbosity.NORMAL)
    assert capsys.readouterr().err == ""
