"""Maps from one joint set to another, made by the joints' names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pose_core.errors import ConfigError
from pose_core.reading.printable import shown

__all__ = ["JointMap", "map_joints"]

Array = np.ndarray

_SIDES = {"l": "left", "r": "right", "left": "left", "right": "right"}
_SAME = {"upper_neck": "neck", "top_head": "head_top", "top_of_head": "head_top"}
"""Names of the same joint in published data sets, as today's map calls it."""


@dataclass(frozen=True)
class JointMap:
    """Where each joint of ``target`` is taken from.

    ``rows`` holds, for each target joint, its number among the joints of ``source``, or None if the source lacks it.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    rows: tuple[int | None, ...]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The target's joints that the source does not have."""
        return tuple(name for name, row in zip(self.target, self.rows, strict=True) if row is None)

    @property
    def unused(self) -> tuple[str, ...]:
        """The source's joints that the target does not have."""
        return tuple(name for row, name in enumerate(self.source) if row not in self.rows)

    @property
    def labels(self) -> Array:
        """Which target joints the source has, ``(K,)`` bool."""
        return np.array([row is not None for row in self.rows], dtype=bool)

    @property
    def is_identity(self) -> bool:
        """Whether the joints stay as they are."""
        return self.rows == tuple(range(len(self.source)))

    def apply(self, joints: Array) -> Array:
        """Return joints ``(…, source, C)`` as ``(…, target, C)``; joints that the source lacks are zero."""
        moved = np.zeros((*joints.shape[:-2], len(self.target), joints.shape[-1]), joints.dtype)
        pairs = [(joint, row) for joint, row in enumerate(self.rows) if row is not None]
        to, origin = np.array(pairs, dtype=np.int64).T
        moved[..., to, :] = joints[..., origin, :]
        return moved


def map_joints(source: Sequence[str], target: Sequence[str], given: Mapping[str, str | None] | None = None) -> JointMap:
    """Map joints of equal meaning: equal names, also in another spelling (``LKnee``, ``knee_l``, ``left-knee``).

    ``given`` names the source joint of some target joints, or None to leave one without. Raise a ConfigError for names
    that do not exist, or if nothing matches.
    """
    places = {name: row for row, name in enumerate(source)}
    by_meaning: dict[str, int] = {}
    for name, row in places.items():
        by_meaning.setdefault(meaning(name), row)
    rows: list[int | None] = []
    given = given or {}
    for name in given:
        if name not in target:
            raise ConfigError(f"joint {shown(name)} is not one of {', '.join(target)}")
    for name in target:
        if name in given:
            chosen = given[name]
            if chosen is not None and chosen not in places:
                raise ConfigError(f"joint {shown(chosen)}, given for {shown(name)}, is not one of {', '.join(source)}")
            rows.append(None if chosen is None else places[chosen])
        else:
            rows.append(places.get(name, by_meaning.get(meaning(name))))
    if all(row is None for row in rows):
        raise ConfigError(
            f"no joint of {', '.join(source[:20])} has the name of one of {', '.join(target[:20])}; name the pairs"
        )
    return JointMap(tuple(source), tuple(target), tuple(rows))


def meaning(name: str) -> str:
    """Return a joint's name in one spelling: lower case, words joined by ``_``, the side first and written out."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[LR])(?=[A-Z][a-z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    sides = [word for word in words if word in _SIDES]
    if len(sides) == 1 and len(words) > 1:
        words = [_SIDES[sides[0]], *(word for word in words if word not in _SIDES)]
    joined = "_".join(words)
    return _SAME.get(joined, joined)
