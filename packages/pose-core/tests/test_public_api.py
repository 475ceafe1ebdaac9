"""The public surface: every name in `__all__` of every public module, with its signature, as recorded in api.txt.

python packages/pose-core/tests/test_public_api.py     # record it again after an intended change
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import GenericAlias, ModuleType, UnionType
from typing import Any

import numpy as np
from torch import Tensor

import pose_core

FILE = Path(__file__).with_name("api.txt")
COMMAND = "python packages/pose-core/tests/test_public_api.py"
MODULE = re.compile(r"\b([A-Za-z_]\w*\.)+(?=[A-Za-z_])")


def public_modules() -> dict[str, ModuleType]:
    """Return the modules that define `__all__` and have no part of their name that starts with an underscore."""
    root = Path(pose_core.__path__[0])
    names = []
    for file in root.rglob("*.py"):
        parts = [root.name, *file.relative_to(root).with_suffix("").parts]
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts) and _defines_all(file):
            names.append(".".join(parts))
    return {name: importlib.import_module(name) for name in sorted(names)}


def _defines_all(file: Path) -> bool:
    assignments = (node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.Assign))
    return any(
        isinstance(target, ast.Name) and target.id == "__all__" for node in assignments for target in node.targets
    )


def describe_all() -> str:
    modules = public_modules()
    blocks = ["\n".join([f"{name}:", *_describe_module(module, modules)]) for name, module in modules.items()]
    return "\n\n".join(blocks) + "\n"


def _describe_module(module: ModuleType, modules: dict[str, ModuleType]) -> Iterator[str]:
    for name in sorted(module.__all__):
        value = getattr(module, name)
        home = getattr(value, "__module__", None)
        if home != module.__name__ and home in modules and name in modules[home].__all__:
            yield f"    {name}: see {home}"
        else:
            yield from (f"    {line}" for line in _describe(name, value))


def _describe(name: str, value: object) -> Iterator[str]:
    if inspect.ismodule(value):
        yield f"module {name}"
    elif inspect.isclass(value) and not isinstance(value, GenericAlias):
        yield from _describe_class(name, value)
    elif inspect.isfunction(value) or hasattr(value, "__wrapped__"):
        yield f"def {name}{_signature(value)}"
    elif typing.get_origin(value) is not None or isinstance(value, UnionType):
        yield f"{name} = {_alias(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _describe_class(name: str, cls: type) -> Iterator[str]:
    """Yield a class's constructor or fields, and its public methods: its own and those of its bases in this package."""
    own = [base for base in reversed(cls.__mro__) if base.__module__.partition(".")[0] == pose_core.__name__]
    members = {key: member for base in own for key, member in vars(base).items()}
    fields = getattr(cls, "model_fields", None)
    if fields is not None:
        yield f"class {name}"
        annotations = {key: text for base in own for key, text in inspect.get_annotations(base).items()}
        for key, field in fields.items():
            default = field.get_default(call_default_factory=True)
            shown = f"{type(default).__name__}()" if hasattr(type(default), "model_fields") else repr(default)
            yield f"    {key}: {_text(annotations[key])}" + ("" if field.is_required() else f" = {shown}")
    elif hasattr(cls, "_fields") or getattr(members.get("__init__"), "__module__", "").startswith(pose_core.__name__):
        yield f"class {name}{_signature(cls)}"
    else:
        yield f"class {name}"
    for key, member in sorted(members.items()):
        if key.startswith("_") or (fields is not None and key in fields):
            continue
        if isinstance(member, property | cached_property):
            getter = member.fget if isinstance(member, property) else member.func
            yield f"    {key}{_signature(getter).rpartition(')')[2].replace(' ->', ':')}"
        elif isinstance(member, classmethod | staticmethod):
            yield f"    {type(member).__name__} {key}{_signature(member.__func__)}"
        elif inspect.isfunction(member) or hasattr(member, "__wrapped__"):
            yield f"    def {key}{_signature(member)}"


def _signature(function: Any) -> str:
    """Return a signature with the annotations of the source."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(
            annotation=_unquoted(parameter.annotation),
            default=Unquoted(default.__qualname__) if inspect.isfunction(default := parameter.default) else default,
        )
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=_unquoted(signature.return_annotation)))


class Unquoted:
    """A string whose repr is itself, without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _unquoted(annotation: Any) -> Any:
    return annotation if annotation is inspect.Signature.empty else Unquoted(_text(annotation))


def _text(annotation: Any) -> str:
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    # The same class may live in another module in another version of Python.
    return annotation if isinstance(annotation, str) else MODULE.sub("", inspect.formatannotation(annotation))


def _alias(hint: Any) -> str:
    """Return a type alias without the metadata of Annotated, whose repr is a library's."""
    if hasattr(hint, "__metadata__"):
        return f"Annotated[{_alias(hint.__origin__)}, ...]"
    if typing.get_origin(hint) is tuple:
        return f"tuple[{', '.join(_alias(argument) for argument in typing.get_args(hint))}]"
    return "..." if hint is ... else _text(hint)


def test_the_public_surface_is_the_recorded_one() -> None:
    recorded, found = FILE.read_text("utf-8"), describe_all()
    changes = "\n".join(difflib.unified_diff(recorded.splitlines(), found.splitlines(), "api.txt", "now", n=1))
    assert recorded == found, f"the public surface has changed; if this is intended, run `{COMMAND}`\n{changes}"


def _loose_types(hint: Any) -> Iterator[Any]:
    """Yield Any, and arrays and containers without a type of their elements."""
    if hint is Any or hint in (np.ndarray, np.dtype, list, dict, tuple, set):
        yield hint
    for argument in typing.get_args(hint):
        if not isinstance(argument, str | int):
            yield from _loose_types(argument)


def test_no_signature_of_an_op_holds_any() -> None:
    loose = {}
    for module in public_modules().values():
        for name in module.__all__ if module.__name__.startswith("pose_core.ops") else ():
            function = getattr(module, name)
            if inspect.isfunction(function):
                hints = typing.get_type_hints(function, localns={"Tensor": Tensor})
                assert set(hints) == {*inspect.signature(function).parameters, "return"}
                loose |= {(name, key): list(_loose_types(hint)) for key, hint in hints.items()}
    assert len(loose) > 50
    assert not {key: types for key, types in loose.items() if types}


if __name__ == "__main__":
    FILE.write_text(describe_all(), encoding="utf-8")
    print(f"{FILE} recorded")
