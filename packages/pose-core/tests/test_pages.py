"""Experiment files: rows on a protocol, and messages that name the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_core.cli import main
from pose_core.errors import ConfigError
from pose_core.plugins.pages import builtin_experiments, merge, read_page

PAGE = """\
# A comment.
protocol:
  method: lite
  note: All alike.
  train: {epochs: 140, milestones: [90, 120]}
experiments:
  wide: {model: {name: lpn_50}, train: {milestones: [100]}}
  narrow:
    note: Another.
    model: {name: lpn_18}
    train: {epochs: 210}
"""


def page(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "coco.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_row_is_merged_onto_the_protocol(tmp_path: Path) -> None:
    entries = read_page(page(tmp_path, PAGE))
    assert list(entries) == ["wide", "narrow"]
    assert [entry.note for entry in entries.values()] == ["All alike.", "Another."]
    assert entries["wide"].content() == {
        "method": "lite", "name": "wide", "note": "All alike.", "model": {"name": "lpn_50"},
        "train": {"epochs": 140, "milestones": [100]},
    }  # fmt: skip
    assert entries["narrow"].content()["train"] == {"epochs": 210, "milestones": [90, 120]}


def test_a_change_of_one_experiment_reaches_no_other(tmp_path: Path) -> None:
    entries = read_page(page(tmp_path, PAGE))
    content = entries["wide"].content()
    content["train"]["milestones"].append(1)
    content["train"]["epochs"] = 1
    assert entries["wide"].content()["train"] == {"epochs": 140, "milestones": [100]}
    entries["narrow"].content()["train"]["milestones"].append(1)
    assert entries["narrow"].content()["train"]["milestones"] == [90, 120]


@pytest.mark.parametrize(
    ("base", "changes", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": 4}}, {"a": {"b": 1, "c": 3, "d": 4}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_mappings_merge_and_all_else_is_replaced(base: dict, changes: dict, merged: dict) -> None:
    assert merge(base, changes) == merged


NESTED = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
MAPPING = st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3)


@given(MAPPING, MAPPING)
def test_what_is_merged_twice_is_merged_once(base: dict, changes: dict) -> None:
    once = merge(base, changes)
    assert merge(once, changes) == once
    assert merge(changes, {}) == merge({}, changes) == changes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PAGE + "  wide: {}\n", r"coco\.yaml: key 'wide' appears twice, line 12"),
        (PAGE.replace("epochs: 210", "epochs: 210, epochs: 210"), r"coco\.yaml: key 'epochs' appears twice, line 11"),
        (PAGE + "  both:\n    - {a: 1, a: 2}\n", r"key 'a' appears twice, line 13"),
        (PAGE + "base: other.yaml\n", r"coco\.yaml must have the keys .* it has protocol, experiments, base"),
        (PAGE.replace("protocol:", "protocoll:"), r"coco\.yaml must have the keys .* it has protocoll, experiments"),
        ("protocol: {method: lite}\n", r"coco\.yaml must have the keys .* it has protocol$"),
        ("- a list\n", r"coco\.yaml must have the keys .* it has list$"),
        ("", r"coco\.yaml must have the keys .* it has NoneType$"),
        ("protocol: lite\nexperiments: {}\n", r"coco\.yaml: 'protocol' must be a mapping"),
        ("protocol: {}\nexperiments: [wide]\n", r"coco\.yaml: 'experiments' must be a mapping"),
        (PAGE + "  empty:\n", r"coco\.yaml: experiment 'empty' must be a mapping of what differs, or \{\}"),
        (PAGE + "  one: {name: two}\n", r"coco\.yaml: remove 'name'; the name of experiment 'one' is its key"),
        (PAGE.replace("  method: lite", "  name: all"), r"coco\.yaml: remove 'name'"),
        (PAGE + "  open: {\n", r"coco\.yaml is not valid YAML"),
    ],
)
def test_faults_name_the_page(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_page(page(tmp_path, text))


def test_a_page_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml does not exist"):
        read_page(tmp_path / "none.yaml")
    (tmp_path / "coco.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match=r"coco\.yaml is not valid YAML"):
        read_page(tmp_path / "coco.yaml")


def test_a_name_stands_once_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = tmp_path / "pose_paged_stub" / "experiments"
    pages.mkdir(parents=True)
    (pages.parent / "__init__.py").touch()
    (pages / "coco.yaml").write_text(PAGE)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(builtin_experiments("pose_paged_stub")) == ["wide", "narrow"]
    (pages / "mpii.yaml").write_text(PAGE)
    with pytest.raises(ConfigError, match=r"'wide' is on two pages, .*coco\.yaml and .*mpii\.yaml"):
        builtin_experiments("pose_paged_stub")


def test_a_page_is_no_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show-config", "--cfg", str(page(tmp_path, PAGE))]) == 2
    message = capsys.readouterr().err
    assert "coco.yaml is a page of several experiments. Give the name of one" in message
    assert message.rstrip().endswith("The page has:\n  wide\n  narrow")
    assert main(["show-config", "--cfg", str(page(tmp_path, "experiments:\n"))]) == 2
    assert capsys.readouterr().err.rstrip().endswith("The page has: none")


def test_a_page_is_plain_data(tmp_path: Path) -> None:
    text = PAGE.replace("name: lpn_18", "name: !!python/name:os.system ''")
    with pytest.raises(ConfigError, match=r"remove the tag !!python/name:os\.system, line"):
        read_page(page(tmp_path, text))
