"""Reading values out of a published file: its spelling of tuples, its types, and where each key went."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pose_core.errors import ConfigError

T = TypeVar("T")


class Source:
    """The values of a published file by dotted key; remembers which key went where."""

    def __init__(self, content: Mapping[str, Any], file_name: str) -> None:
        self.values = flatten(content)
        self.file_name = file_name
        self.went: dict[str, str] = {"MODEL.NAME": "model.name"}

    @property
    def is_old(self) -> bool:
        """The family's oldest branch keeps sizes under MODEL.EXTRA and has other defaults."""
        return "MODEL.EXTRA.HEATMAP_SIZE" in self.values

    def take(self, key: str, target: str, default: T, kind: Callable[[Any], T]) -> T:
        """The value of a key, or the published default; ``MODEL.`` keys are looked for in EXTRA too."""
        for candidate in (key, key.replace("MODEL.", "MODEL.EXTRA.")):
            if candidate in self.values:
                self.went[candidate] = target
                value = literal(self.values[candidate])
                try:
                    return kind(value)
                except (TypeError, ValueError):
                    raise ConfigError(
                        f"{self.file_name}: {candidate} is {value!r}; expected {_EXPECTED[kind.__name__]}"
                    ) from None
        return default

    def flag(self, key: str, target: str, default: bool) -> bool:
        return self.take(key, target, default, flag)

    def number(self, key: str, target: str, default: float) -> float:
        return self.take(key, target, default, float)

    def whole(self, key: str, target: str, default: int) -> int:
        return self.take(key, target, default, whole)

    def text(self, key: str, target: str, default: str) -> str:
        return self.take(key, target, default, text)

    def pair(self, key: str, target: str, default: tuple[int, int]) -> tuple[int, int]:
        """Width and height."""
        return self.take(key, target, default, pair)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections to dotted keys; an empty section holds nothing."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None or prefix:
            flat[f"{prefix}{key}"] = value
    return flat


def literal(value: Any) -> Any:
    """``(0,1,2,3)`` is a tuple written as text."""
    if isinstance(value, str) and value[:1] in {"(", "["}:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def whole(value: Any) -> int:
    if isinstance(value, bool) or not float(value).is_integer():
        raise ValueError
    return int(float(value))


def text(value: Any) -> str:
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError
    return "" if value is None else str(value)


def wholes(value: Any) -> list[int]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    return [whole(item) for item in value]


def numbers(value: Any) -> list[float]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    return [float(item) for item in value]


def pair(value: Any) -> tuple[int, int]:
    width, height = wholes(value)
    if min(width, height) < 1:
        raise ValueError
    return width, height


def gpu_count(value: Any) -> int:
    """How many GPUs ``(0,1,2,3)``, ``0,1`` or ``0`` name."""
    if isinstance(value, tuple | list):
        return max(len(value), 1)
    return len([whole(item) for item in str(value).split(",")])


_EXPECTED = {
    "flag": "true or false",
    "float": "a number",
    "whole": "a whole number",
    "text": "a name or a path",
    "wholes": "a list of whole numbers",
    "numbers": "a list of numbers",
    "pair": "[width, height] in pixels",
    "gpu_count": "the GPUs' numbers, for example (0,1,2,3)",
    "stages": "numbers by size of map, for example [[2.0, 2.0, 2.0], [2.0]]",
    "first_flag": "true or false by size of map",
    "scales": "scales, for example [0.5, 1, 2]",
}
