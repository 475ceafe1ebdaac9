"""The settings of a schema with their meaning: for `pose settings`, and as comments of a printed experiment."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from pose_core.config.schema import Experiment

WIDTH = 100


@dataclass(frozen=True)
class Setting:
    """One dotted key of a schema: its values in words, its default as YAML (None if it has none), and its meaning."""

    key: str
    values: str
    default: str | None
    meaning: str


def settings_of(schema: type[BaseModel]) -> list[Setting]:
    """Return every setting of a schema, in the schema's order."""
    return list(_walk(schema, None, ""))


def _walk(schema: type[BaseModel], block: BaseModel | None, prefix: str) -> Iterator[Setting]:
    for name, field in schema.model_fields.items():
        kind = field.annotation
        # A block's default may differ from its class's.
        default = getattr(block, name) if block is not None else field.get_default(call_default_factory=True)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, default if isinstance(default, BaseModel) else None, f"{prefix}{name}.")
        else:
            required = block is None and field.is_required()
            text = None if required else _as_yaml(default)
            yield Setting(prefix + name, _values(kind), text, meaning_of(schema, name))


def meaning_of(schema: type[BaseModel], name: str) -> str:
    """Return the docstring of a field, or of the one whose default it replaces, as one line."""
    for cls in schema.__mro__:
        field = getattr(cls, "__pydantic_fields__", {}).get(name)
        if field is not None and field.description:
            return " ".join(field.description.split())
    return ""


def _as_yaml(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.strip().removesuffix("...").strip()


def _values(kind: Any) -> str:
    """Return a type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _values(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in {Union, types.UnionType}:
        return " | ".join("null" if each is type(None) else _values(each) for each in inner)
    if origin is tuple:
        return f"[{_values(inner[0])}, …]" if inner[-1] is Ellipsis else f"[{', '.join(map(_values, inner))}]"
    names = {bool: "true | false", int: "integer", float: "number", str: "text"}
    return names.get(kind, "mapping")


def dump_explained(config: Experiment) -> str:
    """Return a resolved experiment as YAML, as `dump_config` does, with the meaning of each key above it."""
    return "".join(_lines(config.model_dump(mode="json"), config, ""))


def _lines(content: dict[str, Any], block: BaseModel, indent: str) -> Iterator[str]:
    for name, value in content.items():
        inner = getattr(block, name)
        meaning = (type(inner).__doc__ or "") if isinstance(inner, BaseModel) else meaning_of(type(block), name)
        for line in textwrap.wrap(meaning, WIDTH - len(indent)):
            yield f"{indent}# {line}\n"
        if isinstance(inner, BaseModel) and value:
            yield f"{indent}{name}:\n"
            yield from _lines(value, inner, f"{indent}  ")
        else:
            text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=WIDTH + 10)
            yield textwrap.indent(text, indent)
