"""Numbers parsed many at a time are those that Python parses, and nothing else is taken for a number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.reading import number_lists
from pose_core.reading.number_lists import decode_entries, parse_numbers

DIGITS = st.text("0123456789", min_size=1, max_size=22)
WHOLE = DIGITS.map(lambda digits: digits.lstrip("0") or "0")
WRITTEN = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    WHOLE,
    st.just("") | DIGITS.map(".".__add__),
    st.sampled_from(["", "", "", "e5", "E-3", "e+10"]),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str) | WRITTEN
HALFWAY = ["9007199254740993", "9007199254740992.5", "4503599627370497.5", "0.30000000000000004", "18014398509481985"]


def same(found: np.ndarray | None, expected: list[float]) -> bool:
    values = np.array(expected)
    return found is not None and bool(np.array_equal(found, values) and (np.signbit(found) == np.signbit(values)).all())


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=60), st.sampled_from([",", ", "]))
def test_numbers_are_those_of_python(written: list[str], comma: str) -> None:
    expected = [float(number) for number in written]
    assert same(parse_numbers(comma.join(written).encode()), expected)


@pytest.mark.parametrize("extended", [True, False])
def test_a_million_digits_are_rounded_to_the_nearest(extended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not extended:
        monkeypatch.setattr(number_lists, "_EXTENDED", False)
    rng = np.random.default_rng(0)
    values, digits = rng.uniform(-999, 999, 20_000).tolist(), rng.integers(1, 17, 20_000).tolist()
    written = [f"{value:.{count}f}" for value, count in zip(values, digits, strict=True)]
    written += [*map(repr, rng.uniform(-640, 640, 20_000).tolist()), *HALFWAY]
    assert same(parse_numbers(",".join(written).encode()), [float(number) for number in written])


@pytest.mark.parametrize(
    "text",
    [
        "", "01", "1.", ".5", "-", "1..2", "1.2.3", "--1", "+1", "1-2", "-01.5", "00", "00.1", "1e", "1,", "1,,2",
        "1 2", "1  ,2", "1 ,2", "0x1", "1_0", "-.5", "1.-5", "NaN", "- 1", "1,true", "é", "١",
    ],
)  # fmt: skip
def test_what_is_no_number_of_json_is_none(text: str) -> None:
    assert parse_numbers(text.encode()) is None


def test_entries_have_their_lists_as_arrays() -> None:
    entries: list[dict[str, Any]] = [
        {"id": n, "k": [n + 0.5, -1, 2e-3], "name": 'a "k": [7] b', "x": {"y": []}} for n in range(5)
    ]
    for text in (json.dumps(entries)[1:-1], json.dumps(entries, separators=(",", ":"))[1:-1]):
        found = decode_entries(text, "k")
        assert found is not None
        assert [{**entry, "k": entry["k"].tolist()} for entry in found] == entries


@pytest.mark.parametrize(
    "text",
    [
        '{"k": [1, true]}', '{"k": [1, "2"]}', '{"k": [[1]]}', '{"k": []}', '{"k": [1], "k": [2]}', '{"a": {"k": [1]}}',
        '{"k": null, "a": {"k": [1]}}', '{"k": [1]}, 5', '{"k": [1]}, {}', '{"k": [1}', '{"k": [1], "é": 1}',
        '{"k": [1]}]',
    ],
)  # fmt: skip
def test_other_entries_are_left_to_the_parser(text: str) -> None:
    assert decode_entries(text, "k") is None
