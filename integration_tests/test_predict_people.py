"""Where `predict` gets people's boxes from, and what it says if it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from pose_core.cli import main


@pytest.fixture
def words(trained: Path, tmp_path: Path) -> list[str]:
    return ["predict", "--weights", str(trained / "best.pt"), "--device", "cpu", "--out", str(tmp_path / "out")]


def error(capsys: pytest.CaptureFixture[str], code: int, words: list[str]) -> str:
    capsys.readouterr()
    assert main(words) == code
    return capsys.readouterr().err


def test_without_a_detector_the_command_says_what_to_do(
    words: list[str], people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POSE_OFFLINE", "1")
    photo = str(next((people / "images" / "val2017").iterdir()))
    text = error(capsys, 1, [*words, photo])
    assert "the default detector of people is not available" in text
    assert "save it as" in text
    assert "--detector whole" in text
    assert not (tmp_path / "out").exists()
    assert main([*words, photo, "--detector", "whole"]) == 0
    assert "each whole image was taken as one person, as --detector whole says" in capsys.readouterr().out


def test_detectors_and_boxes_that_do_not_fit_are_refused(
    words: list[str], people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(next((people / "images" / "val2017").iterdir()))
    assert "no detector is named 'yolo'. Choose one of whole, " in error(
        capsys, 2, [*words, photo, "--detector", "yolo"]
    )
    assert "exclude each other" in error(capsys, 2, [*words, photo, "--detector", "ssdlite", "--boxes", "gt"])
    cv2.imwrite(str(tmp_path / "mine.jpg"), cv2.imread(photo))
    text = error(capsys, 3, [*words, str(tmp_path / "mine.jpg"), "--boxes", "gt"])
    assert "mine.jpg has no annotated people in the split val2017" in text


def test_annotated_boxes_are_found_by_the_weights_alone(
    words: list[str], people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, str(people / "images" / "val2017"), "--boxes", "gt"]) == 0
    content = json.loads((people / "annotations" / "person_keypoints_val2017.json").read_text())
    annotated = sum(entry["num_keypoints"] > 0 and not entry["iscrowd"] for entry in content["annotations"])
    found = [json.loads(file.read_text())["people"] for file in (tmp_path / "out").glob("*.json")]
    assert sum(map(len, found)) == annotated
    assert f"{annotated} people in {len(content['images'])} images" in capsys.readouterr().out


def test_control_characters_of_a_photo_s_name_stay_in_its_results(
    words: list[str], people: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b]0;x\x07.jpg"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(next((people / "images" / "val2017").iterdir()).read_bytes())
    (tmp_path / "in" / "no\x9bimage.jpg").write_bytes(b"no image")
    assert main([*words, str(tmp_path / "in"), "--detector", "whole"]) in {0, 3}
    assert main([*words, str(tmp_path / "in" / name), "--detector", "whole", "--out", str(tmp_path / "o\x1bt")]) == 0
    text = "".join(capfd.readouterr())
    assert r"no\x9bimage.jpg" in text
    assert r"o\x1bt" in text
    assert all(each.isprintable() or each in "\n\r\t" for each in text)
    content = json.loads((tmp_path / "o\x1bt" / name).with_suffix(".json").read_text())
    assert content["image"] == str(tmp_path / "in" / name)
