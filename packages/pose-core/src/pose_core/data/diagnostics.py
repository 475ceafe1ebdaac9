"""Problems of a data set: counted by kind, with the first few of each kept for the summary.

A problem either *stops* reading with a DataError, or is *skipped* (or fixed) and counted. ``pose data check`` lists
every problem in one pass: it counts the stopping problems too and reads on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pose_core.errors import DataError

Kind = Literal[
    "missing file",
    "malformed file",
    "wrong joint count",
    "bad annotation",
    "unknown image",
    "repeated id",
    "box clipped",
    "box outside the image",
    "zero-area person",
    "no area",
    "no people",
    "refused by evaluation",
    "image missing",
    "image does not decode",
    "image size differs",
    "detections of other images",
]

EFFECT: dict[Kind, str] = {
    "missing file": "stops",
    "malformed file": "stops",
    "wrong joint count": "stops",
    "bad annotation": "stops",
    "unknown image": "stops",
    "repeated id": "stops",
    "box clipped": "clipped to the image",
    "box outside the image": "person skipped",
    "zero-area person": "person skipped",
    "no area": "computed from the box",
    "no people": "stops",
    "refused by evaluation": "stops",
    "image missing": "stops, or image skipped with data.on_bad_image=skip",
    "image does not decode": "stops, or image skipped with data.on_bad_image=skip",
    "image size differs": "the decoded size is used",
    "detections of other images": "detection skipped",
}
"""The effect of each kind of problem."""

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its kind, the file it is in, and a description."""

    kind: Kind
    file: str
    text: str
    annotation_id: int | None = None

    def __str__(self) -> str:
        where = "" if self.annotation_id is None else f"annotation {self.annotation_id}: "
        return f"{self.file}: {where}{self.text}"


@dataclass
class Problems:
    """The problems found so far; with ``keep_going``, those that would raise are only counted."""

    keep_going: bool = False
    counts: Counter[Kind] = field(default_factory=Counter)
    stopping: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, list[Problem]] = field(default_factory=dict)

    def skip(self, kind: Kind, file: object, text: str, annotation_id: int | None = None) -> None:
        """Count a problem that was skipped or fixed."""
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(Problem(kind, str(file), text, annotation_id))

    def stop(self, kind: Kind, file: object, text: str, annotation_id: int | None = None) -> None:
        """Raise a DataError, or only count the problem if ``keep_going``."""
        if not self.keep_going:
            raise DataError(str(Problem(kind, str(file), text, annotation_id)))
        self.stopping[kind] += 1
        self.skip(kind, file, text, annotation_id)

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> str:
        """Return one line per kind with its count and effect, followed by its first examples."""
        lines = []
        for kind, count in sorted(self.counts.items()):
            effect = EFFECT[kind]
            if self.stopping[kind] and not effect.startswith("stops"):
                effect = "stops"
            lines.append(f"{count} × {kind} ({effect})")
            lines += [f"    {problem}" for problem in self.examples[kind]]
            if count > EXAMPLES:
                lines.append(f"    … and {count - EXAMPLES} more")
        return "\n".join(lines) or "no problems"
