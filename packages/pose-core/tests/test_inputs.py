"""What `predict` takes and leaves behind for still images."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.inference.inputs import check_inputs, find_inputs
from pose_core.inference.results import AHEAD, predict_paths
from pose_core.photos import read_photo
from pose_core.plugins.predictors import Predictor
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, FileDetector, whole_image

Make = Callable[[], Predictor]


def photo(file: Path, width: int = 80, height: int = 60, orientation: int = 1) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, exif=exif)
    return file


def names(words: list[str | Path], folder: Path) -> list[tuple[str, str, str]]:
    found = find_inputs(words, folder / "out", folder / "downloads")
    return [(Path(each.name).name, each.kind, each.place.as_posix()) for each in found]


def test_folders_patterns_files_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/b.jpg", "in/a.PNG", "in/deep/c.jpg", "in/clip.mp4", "in/notes.txt", "out/old.jpg", "[x].jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    in_folder = [
        ("a.PNG", "image", "a.PNG"),
        ("b.jpg", "image", "b.jpg"),
        ("clip.mp4", "video", "clip.mp4"),
        ("c.jpg", "image", "deep/c.jpg"),
    ]
    assert names(["in"], tmp_path) == in_folder
    assert names([tmp_path / "in"], tmp_path) == in_folder
    assert names(["in/*"], tmp_path) == in_folder
    assert names(["in", "in/*.jpg", tmp_path / "in" / "b.jpg"], tmp_path) == in_folder, "each file once"
    assert names([str(tmp_path / "in" / "**" / "*.jpg")], tmp_path) == [in_folder[1], in_folder[3]]
    assert names(["i?/[ab].*"], tmp_path) == [("a.PNG", "image", "in/a.PNG"), ("b.jpg", "image", "in/b.jpg")]
    assert [name for name, _, _ in names(["."], tmp_path)] == ["[x].jpg", "a.PNG", "b.jpg", "clip.mp4", "c.jpg"]
    assert names(["[x].jpg"], tmp_path) == [("[x].jpg", "image", "[x].jpg")], "a file's name may look like a pattern"
    assert names(["in/notes.txt"], tmp_path) == [("notes.txt", "image", "notes.txt")], "reading it will say what it is"
    assert names(["0", "rtsp://camera:554/door"], tmp_path) == [("0", "stream", "camera_0"), ("door", "stream", "door")]
    check_inputs(["in", "in/*.jpg", "0", "rtsp://camera:554/door", "https://example.org/a.jpg", "[x].jpg"])
    assert names(["http://camera/live/door.m3u8"], tmp_path) == [("door.m3u8", "stream", "door")]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("*.jpeg", r"the pattern \*\.jpeg matches no image or video \(.*\.jpg"),
        ("gone.jpg", r"gone\.jpg does not exist: give an image, a video, a folder"),
        ("www.example.org/a.jpg", "a URL begins with https://"),
        ("https:/example.org/a.jpg", "a URL begins with https://"),
        ("ftp://example.org/a.jpg", "URLs of files begin with https://"),
        ("empty", "folder empty has no image"),
    ],
)
def test_an_input_that_is_not_there_gets_the_right_message(
    word: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_inputs([word], tmp_path / "out", tmp_path)
    if word != "empty":
        with pytest.raises(DataError, match=message):
            check_inputs(["empty", word])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve ``tmp_path / "www"`` on this machine."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_urls_are_fetched_predicted_and_not_kept(
    server: str, tmp_path: Path, make_predictor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "www" / "a.jpg", orientation=6)
    (tmp_path / "www" / "plain").write_bytes((tmp_path / "www" / "a.jpg").read_bytes())
    (tmp_path / "www" / "film").write_bytes(b"\0\0\0\x18ftypisom")
    kinds = find_inputs([f"{server}/plain", f"{server}/film"], tmp_path / "out", tmp_path / "downloads")
    assert [each.kind for each in kinds] == ["image", "video"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    urls = [f"{server}/a.jpg?width=80", f"{server}/plain", f"{server}/a.jpg"]
    summary = predict_paths(make_predictor(), urls, tmp_path / "out", detector=whole_image)
    assert summary.images == 3
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.jpg", "a.json", "a_2.jpg", "a_2.json", "plain.jpg", "plain.json",
    ]  # fmt: skip
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (content["image"], content["width"], content["height"]) == (urls[0], 60, 80)
    assert not list(temporary.iterdir())
    with pytest.raises(PoseError, match="404"):
        predict_paths(make_predictor(), [f"{server}/b.jpg"], tmp_path / "out", detector=whole_image)


def test_photos_are_turned_upright_unless_boxes_of_stored_pixels_are_given(
    tmp_path: Path, make_predictor: Make
) -> None:
    file = photo(tmp_path / "in" / "7.jpg", orientation=6)
    boxes = [{"image_id": 7, "category_id": 1, "bbox": [50, 10, 20, 40], "score": score} for score in (0.9, 0.6, 0.3)]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    for detector, size in ((whole_image, (60, 80)), (FileDetector(tmp_path / "boxes.json", 0.5), (80, 60))):
        out = tmp_path / f"{size[0]}"
        summary = predict_paths(make_predictor(), [file], out, detector=detector)
        drawn = read_photo(str(out / "7.jpg"))
        assert drawn.shape == (size[1], size[0], 3)
        content = json.loads((out / "7.json").read_text())
        assert (content["width"], content["height"]) == size
    assert content["people"][0]["keypoints"]["nose"][:2] == [60, 30]
    assert "2 people in 1 image, written to" in str(summary)
    assert "1 box scored less than --box-threshold 0.5 and was left out" in str(summary)


def test_the_summary_says_what_was_left_out(tmp_path: Path, make_predictor: Make) -> None:
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / "b.jpg")
    (tmp_path / "in" / "notes.txt").write_text("milk")
    (tmp_path / "in" / "cut.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:-500])

    def left(image: np.ndarray, source: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        empty = source is not None and source.name == "b.jpg"
        return (np.zeros((0, 4)), np.zeros(0)) if empty else (np.array([[0.0, 0, 20, 60]]), np.ones(1))

    words = [tmp_path / "in", tmp_path / "in" / "notes.txt"]
    summary = predict_paths(make_predictor(), words, tmp_path / "out", detector=left, threshold=1.5)
    lines = str(summary).splitlines()
    assert lines[0] == f"1 person in 2 images, written to {tmp_path / 'out'}"
    assert lines[1] == "nobody was found in 1 image"
    assert lines[2] == "in 1 image 0 joints are above --threshold 1.5: nothing is drawn there"
    assert lines[3] == "2 inputs could not be read:"
    assert "cut.jpg is cut off" in lines[4]
    assert "notes.txt is not an image file" in lines[5]
    assert len(lines) == 6
    assert (summary.images, summary.people) == (2, 1)
    nothing = predict_paths(make_predictor(), words[1:], tmp_path / "out", detector=left)
    assert str(nothing).startswith("nothing was predicted\n1 input could not be read:\n")


def test_results_are_whole_files_in_order_without_pictures_if_asked(tmp_path: Path, make_predictor: Make) -> None:
    count = 2 * AHEAD + 5
    for number in range(count):
        photo(tmp_path / "in" / f"{number:03d}.png", width=40 + number)
    summary = predict_paths(make_predictor(), [tmp_path / "in"], tmp_path / "out", detector=whole_image, draw=False)
    assert summary.images == count
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{number:03d}.json" for number in range(count)]
    for number, file in enumerate(files):
        content = json.loads(file.read_text())
        assert content["width"] == 40 + number
        assert content["people"][0]["box"][2] == pytest.approx(0.8 * (40 + number), abs=0.01)


def test_photos_are_read_ahead_and_written_behind_while_the_network_runs(
    tmp_path: Path, make_predictor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        photo(tmp_path / "in" / f"{number:02d}.png")
    read, written = threading.Semaphore(0), threading.Semaphore(0)

    def reading(name: str) -> np.ndarray:
        pixels = read_photo(name)
        read.release()
        return pixels

    def writing(path: str, content: object, **more: object) -> None:
        written.release()

    monkeypatch.setattr("pose_core.inference.results.read_photo", reading)
    monkeypatch.setattr("pose_core.inference.results.write_json", writing)
    predictor = make_predictor()
    stream = predictor.worker.predict_stream

    def slow(images: Iterable[DetectedImage[Any]]) -> Iterator[tuple[Any, Poses]]:
        for number, result in enumerate(stream(images)):
            if number == 0:
                assert all(read.acquire(timeout=30) for _ in range(AHEAD)), "images wait before the second is predicted"
            if number == 4:
                assert written.acquire(timeout=30), "results are written before the last is predicted"
            yield result

    monkeypatch.setattr(predictor.worker, "predict_stream", slow)
    summary = predict_paths(predictor, [tmp_path / "in"], tmp_path / "out", detector=whole_image, draw=False)
    assert summary.images == 12


def test_an_error_in_a_thread_ends_the_prediction(tmp_path: Path, make_predictor: Make) -> None:
    for number in range(3):
        photo(tmp_path / "in" / f"{number}.png")
    (tmp_path / "out" / "1.json").mkdir(parents=True)
    with pytest.raises(PoseError, match=r"cannot write .*1\.json"):
        predict_paths(make_predictor(), [tmp_path / "in"], tmp_path / "out", detector=whole_image)


def test_the_umask_survives_many_threads(tmp_path: Path, make_predictor: Make) -> None:
    for number in range(40):
        photo(tmp_path / "in" / f"{number}.png", 8, 8)
    before = os.umask(0o027)
    try:
        predict_paths(make_predictor(), [tmp_path / "in"], tmp_path / "out", detector=whole_image)
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()} == {0o640}
    finally:
        assert os.umask(before) == 0o027


def test_a_detector_is_refused_where_the_network_finds_people(tmp_path: Path, make_predictor: Make) -> None:
    predictor = make_predictor()
    predictor.worker.needs_boxes = False
    file = photo(tmp_path / "in" / "a.jpg")
    detector: Detector = whole_image
    with pytest.raises(ConfigError, match="finds people by itself; remove --boxes and --detector"):
        predict_paths(predictor, [file], tmp_path / "out", detector=detector)
    assert predict_paths(predictor, [file], tmp_path / "out").images == 1
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape == (60, 80, 3)
