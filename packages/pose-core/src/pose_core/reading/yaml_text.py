"""YAML, within limits: plain data of bounded size, with errors that name the file and the line.

Text with a tag (``!!python/tuple``) is refused, and so is a key that is given twice. A date is text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, ClassVar

import yaml

from pose_core.errors import ConfigError, PoseError
from pose_core.plurals import size_text
from pose_core.reading.printable import shortened, shown
from pose_core.reading.regular import read_regular

MAX_BYTES = 1_000_000
"""The largest YAML text; the longest page of experiments has 8 kB, the largest skeleton 14 kB."""
MAX_DEPTH = 50
"""How deep mappings and lists may be nested."""
MAX_NODES = 100_000
"""The most keys, values, mappings and lists, with every ``*alias`` counted as what it stands for."""
MAX_NUMBER = 2**63
"""The absolute value that a whole number stays below."""
MAX_NUMBER_CHARACTERS = 100
"""The longest number."""
MAX_DIRECTIVES = 4
"""The most lines that begin with a per cent sign."""

_PREFIX = "tag:yaml.org,2002:"
_KEYS = frozenset({f"{_PREFIX}str", f"{_PREFIX}merge"})
"""Kinds of keys."""
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What a text must not hold: control characters but tab and line feed, those that turn the direction of writing, and
halves of characters."""


def read_yaml_file(
    path: str | Path, what: str, *, error: type[PoseError] = ConfigError, number_keys: bool = False
) -> Any:
    """Return the content of a YAML file; raise ``error`` if it is missing, malformed or beyond the limits.

    ``what`` describes the file at the start of messages, ``"config file"``. Keys are text or, with ``number_keys``,
    whole numbers.
    """
    content = read_regular(path, what, limit=MAX_BYTES, error=error)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(
            f"{what} {path} is not valid YAML: it is not UTF-8 text: {reason.reason} at byte {reason.start}"
        ) from None
    return parse_yaml(text, f"{what} {path}", error=error, number_keys=number_keys)


def parse_yaml(text: str, name: str, *, error: type[PoseError] = ConfigError, number_keys: bool = False) -> Any:
    """Return the content of a YAML text; raise ``error`` if it is malformed or beyond the limits.

    ``name`` describes the text at the start of messages.
    """
    try:
        return _parse(text, number_keys)
    except _RefusedError as reason:
        raise error(f"{name}: {reason}") from None
    except yaml.YAMLError as reason:
        raise error(f"{name} is not valid YAML: {_in_one_line(reason)}") from None


class _RefusedError(Exception):
    """A text is YAML, but not of the kind that is read."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, with dates as text and numbers of bounded size."""

    yaml_implicit_resolvers: ClassVar[Mapping[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in known if tag != f"{_PREFIX}timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _integer(loader: Any, node: yaml.ScalarNode) -> int:
    try:
        value = int(loader.construct_yaml_int(node))
    except ValueError:
        raise _RefusedError(f"{shown(node.value)} is not a number, line {_line(node)}") from None
    if abs(value) >= MAX_NUMBER:
        raise _RefusedError(f"the number {node.value[:30]} is too large, line {_line(node)}")
    return value


def _float(loader: Any, node: yaml.ScalarNode) -> float:
    try:
        return float(loader.construct_yaml_float(node))
    except (ValueError, OverflowError):
        raise _RefusedError(f"{shown(node.value)} is not a number, line {_line(node)}") from None


_Loader.add_constructor(f"{_PREFIX}int", _integer)
_Loader.add_constructor(f"{_PREFIX}float", _float)


def _parse(text: str, number_keys: bool) -> Any:
    if len(text) > MAX_BYTES:
        raise _RefusedError(f"it is too large: {size_text(len(text))}, of at most {size_text(MAX_BYTES)}")
    hidden = _HIDDEN.search(text.replace("\r\n", "\n"))
    if hidden:
        raise _RefusedError(
            f"it holds the character {hidden[0]!a}, line {hidden.string.count(chr(10), 0, hidden.start()) + 1}"
        )
    if len(re.findall(r"^%", text, re.MULTILINE)) > MAX_DIRECTIVES:
        raise _RefusedError(f"more than {MAX_DIRECTIVES} lines begin with '%'")
    _check_events(text)
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check_nodes(root, set(), _KEYS | ({f"{_PREFIX}int"} if number_keys else set()))
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _check_events(text: str) -> None:
    """Refuse what must not even be composed: deep nesting, tags, aliases that repeat themselves or too much."""
    loader = _Loader(text)
    sizes: dict[str | None, int | None] = {}  # nodes below each anchor; None as long as its value has not ended
    open_nodes: list[tuple[str | None, int]] = []  # anchor of each open mapping or list, nodes before it
    nodes = documents = 0
    try:
        while loader.check_event():
            event = loader.get_event()
            line = event.start_mark.line + 1
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise _RefusedError(f"a second document begins, line {line}; keep one")
            if isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 0)
                if size is None:
                    raise _RefusedError(
                        f"*{shortened(str(event.anchor))} stands within what it stands for, line {line}"
                    )
                nodes += size
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                nodes += 1
                if event.tag is not None:
                    raise _RefusedError(f"remove the tag {_short_tag(event.tag)}, line {line}: only plain data is read")
                if isinstance(event, yaml.CollectionStartEvent):
                    open_nodes.append((event.anchor, nodes - 1))
                    if len(open_nodes) > MAX_DEPTH:
                        raise _RefusedError(f"it is nested deeper than {MAX_DEPTH} levels, line {line}")
                if event.anchor is not None:
                    sizes[event.anchor] = None if isinstance(event, yaml.CollectionStartEvent) else 1
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = open_nodes.pop()
                if anchor is not None:
                    sizes[anchor] = nodes - before
            if nodes > MAX_NODES:
                raise _RefusedError(f"it holds more than {MAX_NODES} values, counting what aliases repeat, line {line}")
    finally:
        loader.dispose()


def _check_nodes(node: yaml.Node, seen: set[int], kinds: Set[str]) -> None:
    """Refuse keys that are given twice or not of ``kinds``, long numbers, and hidden characters in escapes."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_nodes(item, seen, kinds)
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            if key.tag not in kinds:
                fault = (
                    f"{shown(key.value)} is not text" if isinstance(key, yaml.ScalarNode) else "is a list or mapping"
                )
                raise _RefusedError(f"a key {fault}, line {_line(key)}; write it in quotes")
            if key.value in keys:
                raise _RefusedError(f"key {shown(key.value)} appears twice, line {_line(key)}")
            keys.add(key.value)
            _check_nodes(key, seen, kinds)
            _check_nodes(value, seen, kinds)
    elif _HIDDEN.search(node.value):
        raise _RefusedError(f"the text {shown(node.value)} holds a character that cannot be shown, line {_line(node)}")
    elif node.tag in {f"{_PREFIX}int", f"{_PREFIX}float"} and len(node.value) > MAX_NUMBER_CHARACTERS:
        raise _RefusedError(f"a number has {len(node.value)} characters, line {_line(node)}")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _short_tag(tag: str) -> str:
    return tag.replace(_PREFIX, "!!")[:60]


def _in_one_line(error: yaml.YAMLError) -> str:
    """Return a message of PyYAML's without the lines that repeat the text."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        context = f" {error.context}" if error.context else ""
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}"
    return " ".join(str(error).split())
