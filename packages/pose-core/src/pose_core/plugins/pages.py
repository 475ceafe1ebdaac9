"""Pages of experiments: each is a YAML file with the built-in experiments of one data set.

A page has two keys: ``protocol``, the settings that all its experiments share, and ``experiments``, for each name a row
of settings that differ. An experiment is its row merged into the protocol: two mappings merge key by key, and any other
value of the row replaces the protocol's. A key that is in neither has the schema's default; to use that default instead
of the protocol's value, a row must state it. No page inherits from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pose_core.errors import ConfigError
from pose_core.reading.yaml_text import read_yaml_file


@dataclass(frozen=True)
class Entry:
    """One experiment on a page."""

    name: str
    page: Path
    protocol: Mapping[str, Any]
    row: Mapping[str, Any]

    @property
    def note(self) -> str:
        """The experiment's note, or the page's."""
        return str(self.row.get("note", self.protocol.get("note", ""))).strip()

    def content(self) -> dict[str, Any]:
        """Return the experiment's settings as a file of its own would have them, name included."""
        return {**merge(self.protocol, self.row), "name": self.name}


def builtin_experiments(package: str) -> dict[str, Entry]:
    """Return the experiments on all pages of an installed package (``pose_lite``) by name, in the pages' order."""
    entries: dict[str, Entry] = {}
    for page in sorted(Path(str(files(package)), "experiments").glob("*.yaml")):
        for name, entry in read_page(page).items():
            if name in entries:
                raise ConfigError(f"experiment {name!r} is on two pages, {entries[name].page} and {page}")
            entries[name] = entry
    return entries


@cache
def read_page(path: Path) -> Mapping[str, Entry]:
    """Read a page and return its experiments by name, in the page's order."""
    content = read_yaml_file(path, "page")
    keys = {"protocol", "experiments"}
    if not isinstance(content, dict) or set(content) != keys:
        have = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"page {path} must have the keys 'protocol' and 'experiments' and no others; it has {have}")
    for key in sorted(keys):
        if not isinstance(content[key], dict):
            raise ConfigError(f"page {path}: {key!r} must be a mapping")
    protocol, rows = content["protocol"], content["experiments"]
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise ConfigError(f"page {path}: experiment {name!r} must be a mapping of what differs, or {{}}")
        if "name" in row or "name" in protocol:
            raise ConfigError(f"page {path}: remove 'name'; the name of experiment {name!r} is its key")
    return {str(name): Entry(str(name), path, protocol, row) for name, row in rows.items()}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings into a new one: mappings key by key, while any other value of ``changes`` replaces."""
    merged = deepcopy(dict(base))
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else deepcopy(value)
    return merged


def refuse_page(content: Mapping[str, Any], path: Path) -> None:
    """Raise where a file that should hold one experiment is a page of them; the message lists their names."""
    if "experiments" not in content:
        return
    rows = content["experiments"]
    names = [f"\n  {name}" for name in rows] if isinstance(rows, dict) else []
    raise ConfigError(
        f"config file {path} is a page of several experiments. Give the name of one; to edit it, write it to a file "
        f"with `pose show-config --cfg NAME`. The page has:{''.join(names) or ' none'}"
    )
