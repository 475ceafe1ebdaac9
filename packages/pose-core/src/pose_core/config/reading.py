"""Reading of YAML files and ``key=value`` overrides into a validated configuration.

Unknown keys and wrong types are errors that name the key, the file and the nearest valid key.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pose_core.config.schema import Block, Experiment, SourceConfig
from pose_core.errors import ConfigError
from pose_core.reading.printable import printable, shortened, shown
from pose_core.reading.yaml_text import parse_yaml, read_yaml_file
from pose_core.suggestions import similar

C = TypeVar("C", bound=Experiment)

MAX_FAULTS = 20
"""The most faults of one configuration that a message lists."""

_log = logging.getLogger(__name__)
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file; raise a ConfigError that names the file."""
    content = read_yaml_file(path, "config file")
    if not isinstance(content, dict):
        raise ConfigError(f"config file {path} must be a mapping of keys to values")
    return content


def apply_overrides(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys, ``train.lr=1e-3``; values are read as YAML."""
    result: dict[str, Any] = _copy(content)
    for item in overrides:
        key, equals, text = item.partition("=")
        if printable(item) != item:
            raise ConfigError(f"override {shown(item)} holds a character that cannot be shown")
        if not equals or not key:
            raise ConfigError(f"override {shown(item)} must have the form key=value, for example train.epochs=10")
        value = parse_yaml(text, f"override {shown(item)}: the value")
        *parents, last = key.split(".")
        block = result
        for parent in parents:
            block = block.setdefault(parent, {})
            if not isinstance(block, dict):
                raise ConfigError(f"override {shown(item)}: {shown(parent)} is a value, not a block of settings")
        # YAML 1.1 reads 1e-3 as text.
        block[last] = float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
    return result


def _copy(value: Any) -> Any:
    """Return a value whose mappings and lists are new ones."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def update_spelling(content: Mapping[str, Any], schema: type[Block], where: str) -> dict[str, Any]:
    """Return ``content`` with today's spelling of keys and values that earlier versions spelled differently.

    Each change is logged.
    """
    result, notes = _update(content, schema, "")
    for note in notes:
        _log.warning("%s: %s", where, note)
    return result


def _update(content: Mapping[str, Any], schema: type[Block], prefix: str) -> tuple[dict[str, Any], list[str]]:
    result: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in content.items():
        kind = _block(schema, key)
        if kind is not None and isinstance(value, Mapping):
            result[key], more = _update(value, kind, f"{prefix}{key}.")
            notes += more
            continue
        new, values = schema.renamed.get(key, (key, {}))
        if new != key and new in content:
            raise ConfigError(
                f"{prefix}{key} is the old name of {prefix}{new} and both are given; remove {prefix}{key}"
            )
        result[new] = values.get(value, value) if isinstance(value, str) else value
        if (new, result[new]) != (key, value):
            old, now = f"{prefix}{key}", f"{prefix}{new}"
            if result[new] != value:
                old, now = f"{old}={value}", f"{now}={_text(result[new])}"
            notes.append(f"{old} is an old spelling, read as {now} (please change it)")
    return result, notes


def update_override(item: str, schema: type[Block]) -> str:
    """Return an override, ``key=value``, with today's spelling."""
    key, equals, text = item.partition("=")
    *parents, last = key.split(".")
    for parent in parents:
        kind = _block(schema, parent)
        if kind is None:
            return item
        schema = kind
    if last not in schema.renamed or not equals:
        return item
    new, values = schema.renamed[last]
    now = ".".join([*parents, new]) + "=" + _text(values.get(text, text))
    if now != item:
        _log.warning("override %s is an old spelling, read as %s (please change it)", item, now)
    return now


def _block(schema: type[BaseModel], key: str) -> type[Block] | None:
    field = schema.model_fields.get(key)
    kind = field.annotation if field is not None else None
    return kind if isinstance(kind, type) and issubclass(kind, Block) else None


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def parse_config(content: Mapping[str, Any], schema: type[C], where: str) -> C:
    """Validate a mapping against a schema; the error names ``where`` and every invalid key."""
    content = update_spelling(content, schema, where)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        lines = [_explain(fault, schema) for fault in faults[:MAX_FAULTS]]
        if len(faults) > MAX_FAULTS:
            lines.append(f"and {len(faults) - MAX_FAULTS} more faults")
        listed = f" {lines[0]}" if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)
        raise ConfigError(f"{where}:{listed}") from None


def _explain(fault: Any, schema: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    key = shortened(".".join(path)) or "the whole"
    if fault["type"] == "extra_forbidden":
        near = _nearest_in_source(path) or nearest_key(key, schema)
        return f"unknown key {key!r}" + (f"; did you mean {near}?" if near else "")
    if fault["type"] == "missing":
        return f"{key!r} is required and missing"
    message = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    if fault["type"] == "value_error" and (not path or isinstance(fault["input"], Mapping)):
        # A rule about several keys names them itself; the whole block's values would hide it.
        return message if not path or message.startswith(f"{key}.") else f"{key}: {message}"
    return f"{key!r} is {shown(fault['input'])}: {message[:1].lower()}{message[1:]}"


def _nearest_in_source(path: Sequence[str]) -> str | None:
    """Return the valid key that is most similar to one of a source's, ``data.sources.0.rooot``."""
    near = nearest_key(path[-1], SourceConfig) if path[:2] == ["data", "sources"] else None
    return None if near is None else ".".join([*path[:-1], near])


def all_keys(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every dotted key of a schema."""
    keys = []
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += all_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def nearest_key(key: str, schema: type[BaseModel]) -> str | None:
    """Return the valid dotted key that is most similar to ``key``, or, for a key without dots, whose last part is."""
    keys = all_keys(schema)
    by_last = {full.rpartition(".")[2]: full for full in reversed(keys)}
    blocks = {full.partition(".")[0]: full.partition(".")[0] for full in keys}
    last = key.rpartition(".")[2]
    tries = [(key, {full: full for full in keys}, 0.6), (last, by_last, 0.75)]
    if "." not in key:
        tries = [(key, blocks, 0.75), *reversed(tries)]
    for word, known, cutoff in tries:
        near = similar(word, known, cutoff=cutoff)
        if near:
            return known[near[0]]
    return None


def dump_config(config: Experiment) -> str:
    """Return a resolved experiment as YAML that can be read again."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    return text
