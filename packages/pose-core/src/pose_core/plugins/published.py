"""Published configuration files: recognized by upper-case sections, converted by the method they belong to."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pose_core.config import apply_overrides
from pose_core.errors import ConfigError
from pose_core.plugins.convert.source import MAX_LITERAL, Converted, Source
from pose_core.plugins.method import Method, installed_methods
from pose_core.reading.printable import shortened, shown
from pose_core.suggestions import did_you_mean


def is_published(content: Mapping[str, Any]) -> bool:
    """Return whether a YAML file is in the published repositories' upper-case form."""
    return any(isinstance(content.get(key), dict) for key in ("MODEL", "DATASET", "TEST", "TRAIN"))


def convert_published(content: Mapping[str, Any], file_name: str, method: str | None = None) -> Converted:
    """Convert a published file; ``file_name`` decides if the content alone is ambiguous.

    Several repositories have files of the same plain networks, with different rules. ``method``, the one whose command
    is used, is asked first, and takes those of its own repository; without it they go to the method whose `convert`
    takes them, and only if there is none to one whose `convert_plain` does.
    """
    methods = installed_methods()
    asked = [methods[method]] if method in methods else []
    others = [each for each in methods.values() if each not in asked]
    for convert in (*_converters(asked), *_converters(others)):
        converted = convert(Source(content, file_name))
        if converted is not None:
            return converted
    name = Source(content, file_name).values.get("MODEL.NAME", "pose_hrnet")
    known = sorted({each for method in methods.values() for each in method.published_names})
    if name in known:
        raise ConfigError(
            f"{file_name}: MODEL.NAME is {name!r}, but other keys are of a repository that none of the installed "
            f"methods ({', '.join(methods)}) belongs to; `pose doctor` lists the packages"
        )
    hint = did_you_mean(str(name), known) or f"; known are {', '.join(known) or 'none'}"
    raise ConfigError(
        f"{file_name}: MODEL.NAME {shown(name)} is not known to the installed methods "
        f"({', '.join(methods) or 'none'}){hint}"
    )


def _converters(methods: Sequence[Method]) -> Sequence[Callable[[Source], Converted | None]]:
    return [*(each.convert for each in methods), *(each.convert_plain for each in methods)]


def override_published(content: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Set the published (upper-case) keys among ``overrides``; return the new content and the other overrides."""
    published = [item for item in overrides if is_published_key(item)]
    others = [item for item in overrides if item not in published]
    return apply_overrides(content, [_as_yaml(item) for item in published]), others


def is_published_key(override: str) -> bool:
    """Return whether the key of ``key=value`` is in upper case."""
    return override.partition("=")[0].isupper()


def refuse_published_keys(overrides: Sequence[str], place: str) -> None:
    """Refuse published keys for an experiment that is not of a published file."""
    for item in filter(is_published_key, overrides):
        key = item.partition("=")[0]
        how = "settings are written key=value, for example test.flip=false; `pose settings` lists them"
        if key == "TEST.MODEL_FILE":
            how = "give the weights by --weights FILE"
        raise ConfigError(
            f"{shortened(key)} is a key of the published (upper-case) YAML files, and {place} is not one: {how}"
        )


def _as_yaml(override: str) -> str:
    """Return an override whose value is YAML; the published code reads Python's literals, such as ``(0, 1)``."""
    key, _, text = override.partition("=")
    if len(text) > MAX_LITERAL:
        return override
    try:
        return f"{key}={json.dumps(literal_eval(text))}"
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return override
