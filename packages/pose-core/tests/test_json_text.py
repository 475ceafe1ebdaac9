"""JSON from outside: read whole or in blocks with the same result, and refused in one line that names the place."""

from __future__ import annotations

import codecs
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_core.errors import ConfigError, DataError
from pose_core.reading import json_text, patience
from pose_core.reading.json_text import parse_json, read_json, stream_json, stream_list

FIXTURE_KEPT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.sampled_from([-0.0, 1e-7, 1e300, 10**299])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.lists(VALUES | st.dictionaries(st.sampled_from(["id", "bbox", "x"]), VALUES, max_size=3), max_size=6)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {}, optional={"images": ENTRIES | VALUES, "annotations": ENTRIES, "info": VALUES, "": VALUES}
)
INDENTS = st.sampled_from([None, 0, 1, 40])
SMALL = json.dumps(
    {"images": [{"id": 1, "n": "é😀"}, 2.5e-3, None], "annotations": [{"bbox": [1, -2.5, 1e3, 40]}], "x": {"a": [[]]}},
    indent=1,
    ensure_ascii=False,
).encode()


def kept(entry: dict[str, Any]) -> object:
    return dict(entry)


def stream(file: Path, block: int = 3) -> Any:
    return stream_json(file, {"images": kept, "annotations": kept}, block=block)


def outcome(file: Path, block: int | None) -> str:
    """Return the message of the DataError, the only error there may be, or the content in JSON."""
    try:
        return json.dumps(read_json(file) if block is None else stream(file, block))
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    return message


@FIXTURE_KEPT
@given(document=DOCUMENTS, indent=INDENTS, ascii_only=st.booleans(), block=st.integers(1, 60))
def test_blocks_give_the_same_content(
    document: object, indent: int | None, ascii_only: bool, block: int, tmp_path: Path
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    file = tmp_path / "file.json"
    file.write_text(text, encoding="utf-8")
    expected = json.dumps(json.loads(text))
    assert json.dumps(read_json(file)) == expected
    assert json.dumps(stream(file, block)) == expected


@FIXTURE_KEPT
@given(document=ENTRIES | VALUES, indent=INDENTS, block=st.integers(1, 60))
def test_blocks_of_a_list_give_the_same_content(
    document: object, indent: int | None, block: int, tmp_path: Path
) -> None:
    text = json.dumps(document, indent=indent)
    file = tmp_path / "file.json"
    file.write_text(text)
    seen: list[dict[str, Any]] = []

    def shorten(entry: dict[str, Any]) -> int:
        seen.append(entry)
        return len(seen)

    found = stream_list(file, shorten, "list", block=block)
    content = json.loads(text)
    if isinstance(content, list):
        objects = [entry for entry in content if isinstance(entry, dict)]
        assert json.dumps(seen) == json.dumps(objects)
        numbers = iter(range(1, len(objects) + 1))
        content = [next(numbers) if isinstance(entry, dict) else entry for entry in content]
    assert json.dumps(found) == json.dumps(content)


@FIXTURE_KEPT
@given(
    document=DOCUMENTS,
    indent=INDENTS,
    block=st.integers(1, 200),
    place=st.floats(0, 1),
    new=st.binary(max_size=2) | st.sampled_from([b'"', b",", b"]", b"}", b"\\ud800", b"[" * 3000, b"9" * 400, b"-"]),
)
def test_damaged_files_give_the_same_message_or_content(
    document: object, indent: int | None, block: int, place: float, new: bytes, tmp_path: Path
) -> None:
    text = json.dumps(document, indent=indent).encode()
    at = int(place * len(text))
    file = tmp_path / "file.json"
    file.write_bytes(text[:at] + new + text[at + 1 :])
    whole, blocks = outcome(file, None), outcome(file, block)
    # Another fault may be found before; Python 3.13 has a message of its own for a comma at the end.
    if any(fault in whole for fault in ("is not UTF-8", "nested too deep", "trailing comma")):
        assert "is not valid JSON" in blocks or "is not UTF-8" in blocks
    else:
        assert whole == blocks


@pytest.mark.parametrize("block", [None, 1, 7, 1000])
def test_a_file_cut_anywhere_is_refused(block: int | None, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(SMALL)
    assert outcome(file, block) == json.dumps(json.loads(SMALL))
    for length in range(len(SMALL)):
        file.write_bytes(SMALL[:length])
        assert outcome(file, block).startswith(f"annotation file {file} is not "), length


BAD = {
    b'{\n "a": [1, 2,, 3]}': "not valid JSON: line 2, column 13: Expecting value",
    b'{"a": 1} {': "line 1, column 10: Extra data",
    b'{"images": [{"id": ' + b"1" * 5000 + b"}]}": "line 1, column 20: an integer of more than 300 digits",
    b'{"images": [' + b"[" * 100_000: "the value that begins here is nested too deep",
    b'{"a": "\xff"}': "is not UTF-8 text: invalid start byte at byte 7",
    b'{"a": "\xed\xa0\x80"}': "is not UTF-8 text",
    b'{"a": "x\\ud83d"}': "column 9: \\ud83d is half of a character",
    b'{"a": "\\udc00"}': "\\udc00 is half of a character",
    b'{"a": "\x00"}': "Invalid control character",
    b"": "line 1, column 1: Expecting value",
    b"nul": "line 1, column 1: Expecting value",
}


@pytest.mark.parametrize("block", [None, 5, 10**6])
@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:12].decode("latin-1"))
def test_messages_name_the_place(text: bytes, block: int | None, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(text)
    message = outcome(file, block)
    assert BAD[text] in message
    assert ("fetch it again" in message) == ("Expecting" in message or "Extra" in message or "Invalid" in message)


@pytest.mark.parametrize("block", [None, 1, 10**6])
def test_escapes_and_encodings(block: int | None, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    text = r'{"a": "\\ud83d \ud83d\ude00", "run": "' + "0" * 900 + '", "n": [1, -2]}'
    expected = json.dumps(json.loads(text))
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        file.write_bytes(text.encode(encoding))
        assert outcome(file, block) == expected, encoding
    file.write_bytes(codecs.BOM_UTF8)
    assert "Expecting value" in outcome(file, block)


def test_entries_are_shortened_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    row = json.dumps({"id": 1, "segmentation": list(range(1000))})
    file.write_text('{"annotations": [' + ", ".join([row] * 2000 + ["7"]) + '], "other": [{"id": 2}]}')
    tracemalloc.start()
    content = stream_json(file, {"annotations": lambda entry: entry["id"]}, block=20_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content == {"annotations": [1] * 2000 + [7], "other": [{"id": 2}]}
    assert peak < 1_000_000 < file.stat().st_size


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    file = tmp_path / "file.json"
    file.write_bytes(b'{"a": 1}')
    monkeypatch.setattr(json_text, "MAX_BYTES", 7)
    for block in (None, 5, 100):
        assert "is a pipe or a device" in outcome(pipe, block)
        assert "does not exist" in outcome(tmp_path / "none.json", block)
        assert "is too large" in outcome(file, block)


def test_a_file_that_was_there_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(b'{"images": [{"id": 1}]}')
    stream(file)
    file.rename(tmp_path / "away")
    monkeypatch.setattr(patience, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(patience.time, "sleep", lambda seconds: (tmp_path / "away").rename(file))
    assert stream(file) == {"images": [{"id": 1}]}


def test_text_in_hand_is_parsed_with_the_error_that_is_wanted() -> None:
    assert parse_json(b"[1]", "card") == parse_json("[1]", "card") == [1]
    with pytest.raises(ConfigError, match=r"^card is not valid JSON: line 1, column 2: Expecting value$"):
        parse_json("[,", "card", error=ConfigError)
