"""Check a package's built-in experiments: their resolved values against a record, and the style of their pages.

A record, ``tests/experiments.json.gz`` of a package, holds every experiment as it resolved when each had a file of its
own. It is never recorded again: keys that are renamed later are listed here.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_core.cli import method_main
from pose_core.config import Experiment
from pose_core.plugins.experiments import load_config
from pose_core.plugins.method import get_method

RENAMED_KEYS: dict[str, str] = {
    "augment.half_body_fewest": "augment.half_body_min",
    "parts.fewest_joints": "parts.min_joints",
    "parts.faithful": "parts.compat",
    "test.centre_threshold": "test.center_threshold",
    "test.faithful": "test.compat",
    "test.ties": "test.compat",
    "heatmap.window": "heatmap.compat",
}
"""Dotted keys that were renamed since the record: the recorded name, and the current one."""
RENAMED_VALUES: dict[tuple[str, Any], Any] = {
    ("test.ties", "published"): True,
    ("heatmap.window", "reference"): True,
    ("heatmap.window", "symmetric"): False,
    # The default was 4, which no experiment stated; now it is what the machine has.
    ("train.workers", 4): None,
    ("test.workers", 4): None,
    # DEKR's experiments named scoring networks that only the authors have.
    ("rescore.use", True): False,
    ("rescore.weights", "model/rescore/final_rescore_coco_kpt.pth"): None,
    ("rescore.weights", "model/rescore/final_rescore_crowd_pose_kpt.pth"): None,
}
"""The recorded keys whose values have changed."""
RESPELLED_WORDS = {"quantised": "quantized", "labelled": "labeled", "unlabelled": "unlabeled", "optimiser": "optimizer"}
"""Words whose spelling has changed since the record, in all text values including notes."""
REPHRASED = {
    "trained from nothing": "trained from scratch",
    "trunk from nothing": "trunk from scratch",
    "differ in who places parts alone": "differ only in how parts are placed",
}
"""Phrases of notes that have changed since the record."""


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the recorded experiments of a package's folder of tests, by name."""
    with gzip.open(folder / "experiments.json.gz") as file:
        content: dict[str, dict[str, Any]] = json.load(file)
    return content


def differences(config: Experiment, recorded: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys whose value differs from the recorded one, with both values.

    A key that is newer than the record must have its default.
    """
    now = flatten(config.model_dump(mode="json"))
    stated = flatten(config.model_dump(mode="json", exclude_defaults=True))
    then = {
        RENAMED_KEYS.get(key, key): _respell(RENAMED_VALUES.get((key, value), value))
        for key, value in flatten(recorded).items()
    }
    changed = {key: (value, now.get(key, "missing")) for key, value in then.items() if now.get(key, "missing") != value}
    return changed | {key: ("missing", value) for key, value in stated.items() if key not in then}


def check_show_config(method: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that ``show-config`` prints every key of an experiment, as a file that resolves to the same experiment."""
    config = load_config(f"pose-{method}/{name}")
    assert config.name == name
    assert method_main(method, ["show-config", "--cfg", name]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed) == config.model_dump(mode="json")
    file = folder / "copy.yaml"
    file.write_text(printed, encoding="utf-8")
    assert load_config(file) == config
    assert method_main(method, ["show-config", "--cfg", str(file)]) == 0
    assert capsys.readouterr().out == printed


def page_faults(method: str) -> list[str]:
    """Return the style errors of a method's pages, one line each.

    A page opens with a comment that holds the command for one of its experiments, has no anchors, and states neither
    a default nor the protocol's value again.
    """
    faults = []
    entries = get_method(method).experiments()
    for page in {entry.page for entry in entries.values()}:
        text = page.read_text(encoding="utf-8")
        header = text[: text.index("protocol:")]
        commands = re.findall(rf"#   pose-{method} train --cfg (\S+)", header)
        if not commands or any(entries[name].page != page for name in commands):
            faults.append(f"{page.name}: the header has no command that trains an experiment of the page")
        if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(text)):
            faults.append(f"{page.name}: anchors are not for pages")
    for name, entry in entries.items():
        config = load_config(f"pose-{method}/{name}")
        changed = flatten(config.model_dump(mode="json", exclude_defaults=True))
        protocol, row = flatten(entry.protocol), flatten(entry.row)
        where = f"{entry.page.name}, {name}"
        faults += [f"{where}: {key} is the protocol's already" for key, _ in row.items() & protocol.items()]
        # A row may return to a default. ``task`` chooses the schema, so that it has none before.
        once = row.keys() ^ protocol.keys()
        faults += [f"{where}: {key} has its default" for key in once - changed.keys() - {"task"}]
    return faults


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping of dotted keys, with lists as tuples."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat


def _respell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for before, now in REPHRASED.items():
        value = value.replace(before, now)
    return re.sub(r"\w+", lambda word: RESPELLED_WORDS.get(word[0], word[0]), value)
