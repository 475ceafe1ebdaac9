"""YAML from outside: plain data as PyYAML reads it, and everything else refused at once, in one line with its place."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_core.config import apply_overrides, parse_config, read_yaml
from pose_core.errors import ConfigError, WeightsError
from pose_core.reading.yaml_text import MAX_BYTES, MAX_NODES, parse_yaml, read_yaml_file
from pose_core.topdown.config import TopDownConfig

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def nested(kind: str) -> str:
    rows = [f"a{i}: &a{i} {kind.format(', '.join([f'*a{i - 1}'] * 9))}" for i in range(1, 12)]
    return "\n".join(["a0: &a0 {x: 1}", *rows])


REFUSED = {
    "aliases": (nested("[{}]"), "it holds more than 100000 values, counting what aliases repeat, line "),
    "merged aliases": (nested("{{<<: [{}]}}"), "it holds more than 100000 values, counting what aliases repeat"),
    "an alias in itself": ("a: &a [*a]", "*a stands within what it stands for, line 1"),
    "20,000 lists": ("[" * 20_000, "nest"),  # newer versions of libyaml have a limit of their own
    "20,000 lists in blocks": ("- " * 20_000, "it is nested deeper than 50 levels, line 1"),
    "20,000 mappings": ("{a: " * 20_000, "it is nested deeper than 50 levels, line 1"),
    "a number of 900,000 digits": ("a: 1" + ":00" * 300_000, "a number has 900001 characters, line 1"),
    "too large a number": ("\na: 9223372036854775808", "the number 9223372036854775808 is too large, line 2"),
    "no number": ("a: 0b_", "'0b_' is not a number, line 1"),
    "a tag": ("a: !!python/tuple [1]", "remove the tag !!python/tuple, line 1: only plain data is read"),
    "a repeated key": ("a: 1\nb: {c: 1}\na: 2", "key 'a' appears twice, line 3"),
    "a key that is a number": ("{a: 1, 2: 3}", "a key '2' is not text, line 1; write it in quotes"),
    "a key that is a list": ("? [a]\n: 1", "a key is a list or mapping, line 1; write it in quotes"),
    "two documents": ("a: 1\n---\nb: 2", "a second document begins, line 2; keep one"),
    "an escape": ("a: 1\nb: \x1b]0;x\x07", "it holds the character '\\x1b', line 2"),
    "an escape in an escape": ('a: "\\e]0;x"', "the text '\\x1b]0;x' holds a character that cannot be shown, line 1"),
    "half a character": ("a: \ud800", "it holds the character '\\ud800', line 1"),
    "100,000 directives": ("%TAG !a! b\n" * 90_000, "more than 4 lines begin with '%'"),
    "an unknown alias": ("a: *b", "is not valid YAML: line 1, column 4: found undefined alias"),
    "an open list": ("a: [1,\n b", "is not valid YAML: line 3, column 1: did not find expected ',' or ']'"),
    "an open string": ("a: '" + "x" * 900_000, "is not valid YAML: line 1, column 900005"),
    "a megabyte": ("a" * (MAX_BYTES + 1), "it is too large: 1.0 MB, of at most 1.0 MB"),
    "many values": ("[" + "1," * (MAX_NODES + 1) + "]", "it holds more than 100000 values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_once(name: str) -> None:
    text, message = REFUSED[name]
    tracemalloc.start()
    with pytest.raises(WeightsError) as error:
        parse_yaml(text, "config file x.yaml", error=WeightsError)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in str(error.value)
    assert str(error.value).startswith("config file x.yaml")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert peak < 100_000_000


@settings(deadline=None)
@given(value=VALUES, flow=st.sampled_from([None, True, False]))
def test_plain_data_reads_back(value: object, flow: bool | None) -> None:
    assert parse_yaml(yaml.safe_dump(value, default_flow_style=flow), "text") == value


@settings(deadline=None, max_examples=300)
@given(
    text=st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("-:?&*!%[]{}<>|'\"\n #0123456789"), max_size=40)
)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_yaml(text, "text")
    except ConfigError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    assert message.isprintable()


def test_values_of_yaml() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: [2020-13-45, 1:30, 0x1f, 1_000, yes, ~, .inf]\nd: 'é😀\\n'"
    assert parse_yaml(text, "text") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": ["2020-13-45", 90, 31, 1000, True, None, math.inf],
        "d": "é😀\\n",
    }
    assert parse_yaml("", "text") is None


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with pytest.raises(ConfigError, match=r"config file .*a\.yaml does not exist"):
        read_yaml_file(file, "config file")
    file.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml is not valid YAML: it is not UTF-8 text: .* at byte 3"):
        read_yaml_file(file, "config file")
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(file) == {"a": 1, "b": 2}


def test_of_many_unknown_keys_a_few_are_told(tmp_path: Path) -> None:
    # The nearest valid key of each would take most of a minute.
    file = tmp_path / "a.yaml"
    file.write_text("method: lite\ntrain:\n" + "".join(f"  unknown_{i}: {i}\n" for i in range(20_000)))
    with pytest.raises(ConfigError, match="unknown key") as error:
        parse_config(read_yaml(file), TopDownConfig, "here")
    assert "more faults" in str(error.value)
    assert len(str(error.value)) < 3000


def test_not_a_number_is_no_number() -> None:
    content = apply_overrides({"method": "lite", "model": {"name": "lpn_18"}}, ["train.momentum=.nan"])
    with pytest.raises(ConfigError, match=r"'train.momentum' is nan"):
        parse_config(content, TopDownConfig, "here")
