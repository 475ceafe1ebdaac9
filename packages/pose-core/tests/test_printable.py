"""Control characters of names reach no terminal: neither in results, nor in warnings, nor in errors."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from pose_core.cli import guarded
from pose_core.cli import main as pose
from pose_core.errors import DataError
from pose_core.reading.printable import printable, shortened, shown
from pose_testing.annotations import write_image

EVIL = "a\x1b]0;x\x07.jpg"
HIDDEN = "\x1b\x07\x00\x7f\x9b\u202e\u2066\udcff"


@given(text=st.text(st.characters() | st.sampled_from(HIDDEN + "\n\tab"), max_size=30))
def test_every_character_is_visible_or_a_line_feed_or_a_tab(text: str) -> None:
    shape = printable(text)
    assert all(each.isprintable() or each in "\n\t" for each in shape)
    assert printable(shape) == shape
    assert shape.encode("utf-8").decode() == shape
    if all(each.isprintable() or each in "\n\t" for each in text):
        assert shape == text


def test_escapes_and_cuts() -> None:
    assert printable(HIDDEN) == r"\x1b\x07\x00\x7f\x9b\u202e\u2066\udcff"
    assert printable("é😀\tb\n") == "é😀\tb\n"
    assert shown("a\n\x1b") == r"'a\n\x1b'"
    assert len(shown("a" * 10**6)) == len(shown(["a"] * 1000)) == 100
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "[[[[[[...]]]]]]"
    assert shown({"a": [1, 2.5, None]}) == "{'a': [1, 2.5, None]}"
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


def test_messages_are_printable_and_bounded() -> None:
    assert str(DataError(f"{EVIL}: no")) == r"a\x1b]0;x\x07.jpg: no"
    assert len(str(DataError("image " + "x" * 100_000))) < 600
    assert str(DataError("image " + "x" * 600)) == "image " + "x" * 600


def test_all_that_a_command_prints_is_printable(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        print("result", EVIL)
        print("note", EVIL, file=sys.stderr)
        assert logging.lastResort is not None
        logging.lastResort.handle(logging.makeLogRecord({"msg": f"warning {EVIL}", "levelno": 30}))
        tqdm.write(f"log {EVIL}", file=sys.stderr)
        for _ in tqdm(range(2), EVIL, file=sys.stderr):
            pass
        assert not sys.stdout.isatty()
        raise DataError(f"error {EVIL}")

    before = sys.stdout, sys.stderr
    assert guarded(work) == 3
    assert (sys.stdout, sys.stderr) == before
    out, err = capfd.readouterr()
    for text, words in ((out, ["result"]), (err, ["note", "warning", "log", "error: error"])):
        assert text.replace("\r", "").replace("\n", "").isprintable()
        for word in words:
            assert rf"{word} a\x1b]0;x\x07.jpg" in text


def test_an_unforeseen_error_and_its_traceback_are_printable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSE_DEBUG", "1")

    def work() -> int:
        raise RuntimeError(EVIL)

    assert guarded(work) == 1
    err = capsys.readouterr().err
    assert err.count(r"a\x1b]0;x\x07.jpg") == 2
    assert "Traceback" in err
    assert err.replace("\n", "").isprintable()


@pytest.mark.parametrize("command", ["check", "browse"])
def test_names_in_annotations_do_not_reach_the_terminal(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = {"images": [{"id": 1, "file_name": EVIL, "width": 8, "height": 8}], "annotations": []}
    file = tmp_path / "annotations" / "person_keypoints_val2017.json"
    file.parent.mkdir()
    file.write_text(json.dumps(content))
    write_image(tmp_path / "images" / "val2017" / EVIL)
    options = {"check": ["--splits", "val2017"], "browse": ["--split", "val2017", "--out", str(tmp_path / "b.html")]}
    assert pose(["data", command, "--root", str(tmp_path), *options[command]]) == 3
    out, err = capfd.readouterr()
    assert (out + err).replace("\n", "").isprintable()
    assert r"'a\x1b]0;x\x07.jpg' holds a character that cannot be shown; rename the file" in out + err
