"""A published file's values for its converter, and the converted configuration with a note on every key."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any, Generic, TypeVar

from pose_core.errors import ConfigError
from pose_core.reading.printable import shown

T = TypeVar("T")
MAX_LITERAL = 1000
"""Characters of the longest tuple or list that is written as text."""


@dataclass
class Converted:
    """The converted configuration, and notes on the published keys."""

    config: dict[str, Any]
    mapped: list[str] = field(default_factory=list)
    meaningless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def render_notes(converted: Converted) -> str:
    """Return the notes as text for the user."""
    lines = ["converted from the published form", "mapped:"]
    mapped = _group((target, key) for key, target in (line.split(" → ") for line in converted.mapped))
    lines += [_paragraph(f"{target} ← {keys}") for target, keys in mapped.items()]
    lines += ["without a meaning here:"]
    reasons = _group((reason, key) for key, reason in (line.split(": ", 1) for line in converted.meaningless))
    lines += [_paragraph(f"{keys}: {reason}") for reason, keys in reasons.items()]
    lines += ["notes:", *map(_paragraph, converted.notes)]
    return "\n".join(lines)


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the keys that share a target or a reason."""
    groups: dict[str, str] = {}
    for shared, key in pairs:
        groups[shared] = f"{groups[shared]}, {key}" if shared in groups else key
    return groups


def _paragraph(text: str) -> str:
    return fill(text, 110, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


class Source:
    """The values of a published file by dotted key; records the target of each key that is read.

    ``unread`` are the keys that change nothing, each with the reason; they are taken as absent.
    """

    def __init__(self, content: Mapping[str, Any], file_name: str) -> None:
        self.values = flatten(content)
        self.file_name = file_name
        self.went: dict[str, str] = {"MODEL.NAME": "model.name"}
        self.unread: dict[str, str] = {}

    @property
    def is_old(self) -> bool:
        """True for the family's oldest branch, which has sizes under MODEL.EXTRA and other defaults."""
        return "MODEL.EXTRA.HEATMAP_SIZE" in self.values and not self.why_unread("MODEL.EXTRA.HEATMAP_SIZE")

    def why_unread(self, key: str) -> str | None:
        """Return the reason why a key, or the section that it is in, changes nothing; None if it does."""
        while key:
            if key in self.unread:
                return self.unread[key]
            key = key.rpartition(".")[0]
        return None

    def take(self, key: str, target: str, default: T, kind: Kind[T]) -> T:
        """Return the value of a key, or the published default; ``MODEL.`` keys are looked up in EXTRA too."""
        for candidate in (key, key.replace("MODEL.", "MODEL.EXTRA.")):
            if candidate in self.values and candidate not in self.unread:
                self.went[candidate] = target
                value = literal(self.values[candidate])
                try:
                    return kind.read(value)
                except (TypeError, ValueError, OverflowError):
                    raise ConfigError(
                        f"{self.file_name}: {candidate} is {shown(value)}; expected {kind.expected}"
                    ) from None
        return default

    def flag(self, key: str, target: str, default: bool) -> bool:
        """Return a truth value."""
        return self.take(key, target, default, FLAG)

    def number(self, key: str, target: str, default: float) -> float:
        """Return a number."""
        return self.take(key, target, default, NUMBER)

    def whole(self, key: str, target: str, default: int) -> int:
        """Return a whole number."""
        return self.take(key, target, default, WHOLE)

    def text(self, key: str, target: str, default: str) -> str:
        """Return a name or a path."""
        return self.take(key, target, default, TEXT)

    def pair(self, key: str, target: str, default: tuple[int, int]) -> tuple[int, int]:
        """Return a width and a height."""
        return self.take(key, target, default, PAIR)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested sections to dotted keys; an empty section has none."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None or prefix:
            flat[f"{prefix}{key}"] = value
    return flat


def literal(value: Any) -> Any:
    """Parse a tuple or list that is written as text, such as ``(0,1,2,3)``; return any other value unchanged."""
    if isinstance(value, str) and value[:1] in {"(", "["} and len(value) <= MAX_LITERAL:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
    return value


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def whole(value: Any) -> int:
    """Read a whole number."""
    if isinstance(value, bool) or not float(value).is_integer():
        raise ValueError
    return int(float(value))


def text(value: Any) -> str:
    """Read a name or a path; null is empty."""
    if value is not None and not isinstance(value, str | int | float):
        raise TypeError
    return "" if value is None else str(value)


def wholes(value: Any) -> list[int]:
    """Read a list of whole numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    return [whole(item) for item in value]


def number(value: Any) -> float:
    """Read a finite number."""
    result = float(value)
    if not math.isfinite(result):
        raise ValueError
    return result


def numbers(value: Any) -> list[float]:
    """Read a list of numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError
    return [number(item) for item in value]


def pair(value: Any) -> tuple[int, int]:
    """Read a width and a height."""
    width, height = wholes(value)
    if min(width, height) < 1:
        raise ValueError
    return width, height


def gpu_count(value: Any) -> int:
    """Count the GPUs in ``(0,1,2,3)``, ``0,1`` or ``0``."""
    if isinstance(value, tuple | list):
        return max(len(value), 1)
    return len([whole(item) for item in str(value).split(",")])


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A type of value: its reader, which raises TypeError or ValueError, and its description for that message."""

    read: Callable[[Any], T]
    expected: str


FLAG = Kind(flag, "true or false")
NUMBER = Kind(number, "a number")
WHOLE = Kind(whole, "a whole number")
TEXT = Kind(text, "a name or a path")
WHOLES = Kind(wholes, "a list of whole numbers")
NUMBERS = Kind(numbers, "a list of numbers")
PAIR = Kind(pair, "[width, height] in pixels")
GPU_COUNT = Kind(gpu_count, "the GPUs' numbers, for example (0,1,2,3)")
