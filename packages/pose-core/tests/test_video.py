"""Videos in and out: frames in order, sampled by time, drawn and written, by either library."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import ConfigError, DataError
from pose_core.inference.results import predict_paths
from pose_core.inference.video import Backend, backend, frame_rate, read_frames, video_writer
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.detectors import FileDetector

COCO = SKELETONS["coco17"]
BACKENDS = [pytest.param("av", marks=pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs PyAV"))]
BACKENDS += [pytest.param("opencv")]


def picture(step: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return a frame of a white square that moves to the right."""
    image = np.full((height, width, 3), 30, np.uint8)
    cv2.rectangle(image, (8 + 2 * step, 24), (24 + 2 * step, 40), (255, 255, 255), -1)
    return image


def middle(image: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(image.mean(2) > 150)
    return float(columns.mean()), float(rows.mean())


def film(file: Path, using: Backend, frames: int = 20, fps: float = 20, **size: int) -> Path:
    with video_writer(file, fps, using) as write:
        for step in range(frames):
            write(picture(step, **size))
    return file


class Square(PosePredictor):
    """A predictor that finds one person with all joints at the middle of the white square, or none without a square."""

    needs_boxes = False

    def __init__(self) -> None:
        self.skeleton = COCO
        self.config = TopDownConfig.model_construct(method="square")

    def predict_stream(self, images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for name, image, _, _ in images:
            points = np.broadcast_to(np.array(middle(image)), (1, 17, 2))
            yield name, Poses(points, np.ones((1, 17)), np.ones(1), COCO)

    def predict_batch(self, batch: object) -> list[tuple[np.ndarray, Poses]]:
        raise AssertionError("nothing is trained here")


@pytest.mark.parametrize("using", BACKENDS)
def test_frames_come_back_in_order(using: Backend, tmp_path: Path) -> None:
    file = film(tmp_path / "deep" / "clip.mp4", using)
    assert [p.name for p in file.parent.iterdir()] == ["clip.mp4"], "nothing half-written stays"
    assert frame_rate(file, using) == pytest.approx(20, rel=0.01)
    frames = list(read_frames(file, using))
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx([n / 20 for n in range(20)], abs=1e-3)
    for step, frame in enumerate(frames):
        assert frame.image.shape == (64, 96, 3)
        assert middle(frame.image) == pytest.approx((16 + 2 * step, 32), abs=0.7)


@pytest.mark.parametrize("using", BACKENDS)
def test_so_many_frames_a_second(using: Backend, tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", using)
    assert [frame.number for frame in read_frames(file, using, 10)] == list(range(0, 20, 2))
    assert [frame.number for frame in read_frames(file, using, 8)] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert len(list(read_frames(file, using, 20))) == 20
    for fps in (25.0, 0.0, -1.0):
        with pytest.raises(ConfigError, match=f"--fps {fps:g}: .*clip.mp4 has 20 frames a second"):
            list(read_frames(file, using, fps))


@pytest.mark.parametrize("using", BACKENDS)
def test_odd_sides_are_filled_up(using: Backend, tmp_path: Path) -> None:
    file = film(tmp_path / "clip.mp4", using, frames=3, width=95, height=63)
    assert next(iter(read_frames(file, using))).image.shape == (64, 96, 3)


@pytest.mark.parametrize("using", BACKENDS)
def test_what_is_no_video_is_refused_by_name(using: Backend, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    with pytest.raises(DataError, match=r"clip\.mp4 does not exist"):
        frame_rate(file, using)
    file.write_bytes(b"no film at all" * 50)
    with pytest.raises(DataError, match=r"clip\.mp4 cannot be read"):
        frame_rate(file, using)


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with video_writer(tmp_path / "clip.mp4", 10, "opencv") as write:
            write(picture(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_without_pyav_opencv_works_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with caplog.at_level(logging.WARNING):
        assert backend() == "opencv"
    assert r"pip install 'pose-core[video]'" in caplog.text


def test_a_video_is_predicted_frame_by_frame(tmp_path: Path) -> None:
    file = film(tmp_path / "in" / "clip.mp4", "opencv")
    cv2.imwrite(str(tmp_path / "in" / "photo.jpg"), picture(3))
    out = tmp_path / "out"
    summary = predict_paths(Predictor(Square()), [tmp_path / "in"], out, fps=10)
    assert (summary.images, summary.frames, summary.people) == (1, 10, 11)
    assert "11 people in 1 image and 10 frames" in str(summary)
    names = sorted(path.name for path in (out / "clip").iterdir())
    assert [n for n in names if n.endswith(".json")] == [f"frame_{n:06d}.json" for n in range(0, 20, 2)]
    assert [n for n in names if n.endswith(".jpg")] == [f"frame_{n:06d}.jpg" for n in range(0, 20, 2)]
    written = out / "clip.mp4"
    frames = list(read_frames(written, "opencv"))
    assert len(frames) == 10
    assert frame_rate(written, "opencv") == pytest.approx(10)
    content = json.loads((out / "clip" / "frame_000004.json").read_text())
    assert content["frame"] == 4
    assert content["time"] == pytest.approx(0.2)
    x, y, _ = content["people"][0]["keypoints"]["nose"]
    assert (x, y) == pytest.approx((24, 32), abs=0.7)
    assert not np.array_equal(frames[2].image, next(iter(read_frames(file, "opencv"))).image)


def test_no_draw_writes_json_alone_and_bad_videos_are_counted(tmp_path: Path) -> None:
    film(tmp_path / "good.mp4", "opencv", frames=4)
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    files = [tmp_path / "bad.mp4", tmp_path / "good.mp4"]
    summary = predict_paths(Predictor(Square()), files, tmp_path / "out", draw=False)
    assert (summary.frames, len(summary.unreadable)) == (4, 1)
    assert "bad.mp4 cannot be read" in str(summary)
    assert {path.suffix for path in (tmp_path / "out").rglob("*.*")} == {".json"}


def test_boxes_cannot_name_frames(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[]")
    film(tmp_path / "clip.mp4", "opencv", frames=2)
    predictor = Predictor(Square())
    with pytest.raises(ConfigError, match="'square' finds people by itself; remove --boxes"):
        predict_paths(predictor, [tmp_path / "clip.mp4"], tmp_path / "out", detector=FileDetector(boxes, 0.5))
    predictor.worker.needs_boxes = True
    with pytest.raises(ConfigError, match=r"clip\.mp4 is a video, and --boxes has no boxes for its frames"):
        predict_paths(predictor, [tmp_path / "clip.mp4"], tmp_path / "out", detector=FileDetector(boxes, 0.5))
