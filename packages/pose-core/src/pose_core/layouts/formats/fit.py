"""Make records fit a format: take away what it cannot hold, and say how much that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from pose_core.plurals import counted
from pose_core.structures import ImageRecord, Person

Records = list[ImageRecord]
Loss = Callable[[Records], tuple[Records, str]]
"""Return the records without something, and a line that says what went; an empty text if they had none of it."""


def fit(records: Sequence[ImageRecord], lacks: Iterable[str]) -> tuple[Records, list[str]]:
    """Return records without what a format ``lacks``, and a line for each kind of thing that is lost."""
    kept, lines = list(records), []
    for name in lacks:
        kept, line = LOSSES[name](kept)
        lines += [line] if line else []
    return kept, lines


def _with_people(records: Records, keep: Callable[[Person], bool]) -> tuple[Records, int]:
    """Return records with some of their people, and the number of the others."""
    kept = [replace(record, persons=tuple(filter(keep, record.persons))) for record in records]
    return kept, sum(len(a.persons) - len(b.persons) for a, b in zip(records, kept, strict=True))


def _crowds(records: Records) -> tuple[Records, str]:
    kept, gone = _with_people(records, lambda person: not person.is_crowd)
    kept = [replace(record, ignore=()) for record in kept]
    return kept, f"{counted(gone, 'crowd region')} left out" if gone else ""


def _unlabeled(records: Records) -> tuple[Records, str]:
    kept, gone = _with_people(records, lambda person: person.is_crowd or person.num_labeled > 0)
    return kept, f"{counted(gone, 'person', 'people')} without a labeled joint left out" if gone else ""


def _empty(records: Records) -> tuple[Records, str]:
    kept = [record for record in records if record.persons]
    gone = len(records) - len(kept)
    return kept, f"{counted(gone, 'image')} without people left out" if gone else ""


def _hidden(records: Records) -> tuple[Records, str]:
    hidden = sum(int((person.joints[:, 2] == 1).sum()) for record in records for person in record.persons)

    def seen(joints: np.ndarray) -> np.ndarray:
        return np.concatenate([joints[:, :2], np.where(joints[:, 2:] == 1, 2, joints[:, 2:])], 1).astype(np.float32)

    kept = [_changed(record, lambda person: replace(person, joints=seen(person.joints))) for record in records]
    return kept, f"{counted(hidden, 'hidden joint')} written as visible" if hidden else ""


def _outside(records: Records) -> tuple[Records, str]:
    """Unlabel joints outside their image, whose size must be known."""
    gone = 0

    def inside(person: Person, size: tuple[int, int]) -> Person:
        nonlocal gone
        joints = person.joints.copy()
        beyond = ((joints[:, :2] < 0) | (joints[:, :2] > size)).any(1) & (joints[:, 2] > 0)
        joints[beyond] = 0
        gone += int(beyond.sum())
        return replace(person, joints=joints)

    kept = []
    for record in records:
        size = record.width, record.height
        kept.append(replace(record, persons=tuple(inside(person, size) for person in record.persons)))
    return kept, f"{counted(gone, 'joint')} outside the image left out" if gone else ""


def _several(records: Records) -> tuple[Records, str]:
    """One record for each person."""
    kept = [replace(record, persons=(person,)) for record in records for person in record.persons]
    many = sum(len(record.persons) > 1 for record in records)
    return kept, f"{counted(many, 'image')} with several people written once for each person" if many else ""


def _boxes(records: Records) -> tuple[Records, str]:
    boxes = sum(person.box is not None or person.stated_box is not None for r in records for person in r.persons)
    return records, f"the boxes of {counted(boxes, 'person', 'people')} left out" if boxes else ""


def _sides(records: Records) -> tuple[Records, str]:
    boxes = sum(person.box is not None or person.stated_box is not None for r in records for person in r.persons)
    text = f"the boxes of {counted(boxes, 'person', 'people')} written as a center and the longer side"
    return records, text if boxes else ""


def _areas(records: Records) -> tuple[Records, str]:
    areas = sum(person.area > 0 for record in records for person in record.persons)
    return records, f"the areas of {counted(areas, 'person', 'people')} left out" if areas else ""


def _crowd_index(records: Records) -> tuple[Records, str]:
    found = sum(record.crowd_index is not None for record in records)
    return records, f"the crowd index of {counted(found, 'image')} left out" if found else ""


def _scales(records: Records) -> tuple[Records, str]:
    found = sum(person.scale is not None for record in records for person in record.persons)
    text = f"center and scale of {counted(found, 'person', 'people')} written as a square box"
    return records, text if found else ""


def _heads(records: Records) -> tuple[Records, str]:
    found = sum(person.head_box is not None for record in records for person in record.persons)
    return records, f"the head boxes of {counted(found, 'person', 'people')} left out" if found else ""


def _changed(record: ImageRecord, change: Callable[[Person], Person]) -> ImageRecord:
    return replace(record, persons=tuple(map(change, record.persons)))


LOSSES: dict[str, Loss] = {
    "crowds": _crowds,
    "outside": _outside,
    "unlabeled": _unlabeled,
    "empty": _empty,
    "hidden": _hidden,
    "boxes": _boxes,
    "sides": _sides,
    "areas": _areas,
    "crowd_index": _crowd_index,
    "scales": _scales,
    "heads": _heads,
    "several": _several,
}
"""What a format may not be able to hold, in the order in which it is taken away."""
