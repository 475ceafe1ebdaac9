"""Check which keys of published files a converter reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pose_core.config import parse_config
from pose_core.errors import ConfigError
from pose_core.plugins.method import get_method
from pose_core.plugins.published import convert_published

ANY_VALUE: tuple[Any, ...] = (None, True, False, -7, 0, 3.5, "", "x", "(1,", [], [[1, "b"]], {"A": 1}, {})
"""Values of every kind, most of which no published file has."""


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Convert dotted keys to nested sections."""
    content: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return content


def dotted(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys of nested sections."""
    keys = []
    for key, value in content.items():
        keys += dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return keys


def resolved(flat: Mapping[str, Any], file_name: str) -> dict[str, Any]:
    """Return the experiment that a published file becomes, with every default."""
    config = convert_published(nested(flat), file_name).config
    schema = get_method(str(config["method"])).schema(config, file_name)
    content: dict[str, Any] = parse_config(config, schema, file_name).model_dump(mode="json")
    return content


def changes(flat: Mapping[str, Any], key: str, file_name: str) -> bool:
    """Return whether other plausible values of ``key`` change the experiment or are refused: at least one must."""
    plain = resolved(flat, file_name)
    for value in _others(flat[key]):
        try:
            if resolved({**flat, key: value}, file_name) != plain:
                return True
        except ConfigError:
            return True
    return False


def _others(value: Any) -> Iterator[Any]:
    """Yield other values of the same kind."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield f"{value}0"
        yield f"other/{value}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for other in _others(item):
                yield [*value[:index], other, *value[index + 1 :]]
        yield value[:-1]
    else:
        raise TypeError(f"no other value of {value!r}")
