"""Pages of experiments: one YAML file holds the built-in experiments of one data set.

A page has two keys: ``protocol``, what all its experiments share, and ``experiments``, for each name a row of what
differs. An experiment is its row merged onto the protocol: two mappings merge key by key, and any other value of the
row replaces the protocol's. What neither states has the schema's default, so a row returns to a default by stating it.
No page inherits from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from pose_core.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One experiment on a page."""

    name: str
    page: Path
    protocol: Mapping[str, Any]
    row: Mapping[str, Any]

    @property
    def note(self) -> str:
        """What a reader should know of it."""
        return str(self.row.get("note", self.protocol.get("note", ""))).strip()

    def content(self) -> dict[str, Any]:
        """Return the experiment as a file of its own would state it, name included."""
        return {**merge(self.protocol, self.row), "name": self.name}


def builtin_experiments(package: str) -> dict[str, Entry]:
    """Return the experiments on all pages of an installed package (``pose_lite``) by name, in the pages' order."""
    found: dict[str, Entry] = {}
    for page in sorted(Path(str(files(package)), "experiments").glob("*.yaml")):
        for name, entry in read_page(page).items():
            if name in found:
                raise ConfigError(f"experiment {name!r} stands on two pages, {found[name].page} and {page}")
            found[name] = entry
    return found


@cache
def read_page(path: Path) -> Mapping[str, Entry]:
    """Read a page; returns its experiments by name, in the page's order."""
    content = _load(path)
    keys = {"protocol", "experiments"}
    if not isinstance(content, dict) or set(content) != keys:
        have = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"page {path} must have the keys 'protocol' and 'experiments' and no other; it has {have}")
    for key in sorted(keys):
        if not isinstance(content[key], dict):
            raise ConfigError(f"page {path}: {key!r} must be a mapping")
    protocol, rows = content["protocol"], content["experiments"]
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise ConfigError(f"page {path}: experiment {name!r} must be a mapping of what differs, or {{}}")
        if "name" in row or "name" in protocol:
            raise ConfigError(f"page {path}: 'name' is not stated; experiment {name!r} is called by its key")
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
        f"with `pose show-config --cfg NAME`. The page holds:{''.join(names) or ' none'}"
    )


def _load(path: Path) -> Any:
    """Parse a YAML file; other than YAML's own rule, a key that stands twice in a mapping is an error."""
    loader_class = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        loader = loader_class(path.read_text(encoding="utf-8"))
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _check_unique(root, path)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except OSError as error:
        raise ConfigError(f"page {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"page {path} is not valid YAML: {error}") from None


def _check_unique(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_unique(item, path)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"page {path}: key {key.value!r} stands twice, line {key.start_mark.line + 1}")
            seen.add(key.value)
            _check_unique(value, path)
