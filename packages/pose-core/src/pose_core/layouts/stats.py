"""Figures of a data set: its people, joints, sizes and crowding, and images that are in it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.data.near_duplicates import find_alike, group
from pose_core.geometry import box_overlap
from pose_core.layouts.formats.people import area_of, box_of
from pose_core.layouts.layout import AnnotatedSet
from pose_core.plurals import counted
from pose_core.structures import ImageRecord, Person
from pose_core.text_tables import aligned

Array = np.ndarray

SMALL, LARGE = 32.0**2, 96.0**2
"""COCO's limits of area: people between them are of medium size."""
TOUCHING = 0.1
"""Two people overlap if the intersection over union of their boxes is at least this."""
EXAMPLES = 5
"""Groups of near-duplicates that are listed."""


@dataclass(frozen=True)
class JointCount:
    """How often a joint is labeled, and how often it is hidden then."""

    name: str
    labeled: int
    hidden: int


@dataclass(frozen=True)
class SplitStats:
    """The figures of one split. People are annotated people that are no crowds."""

    split: str
    images: int
    people: int
    unlabeled: int
    """People without a labeled joint."""
    crowds: int
    joints: tuple[JointCount, ...]
    people_per_image: Mapping[str, int]
    """Number of images by their number of people: 0, 1, 2, 3-5, 6-10, 11 and more."""
    labeled_per_person: Mapping[str, int]
    """Number of people by their number of labeled joints, in quarters of the joint set."""
    sizes: Mapping[str, int]
    """Number of people that are small, medium and large by COCO's limits of area."""
    box_heights: Mapping[str, float]
    """Percentiles in pixels; empty without people."""
    crowding: Mapping[str, int]
    """Number of people by the number of others whose boxes overlap theirs: 0, 1-2, 3 and more."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of near-duplicate images, each image as its split and its name."""

    across: tuple[tuple[tuple[str, str], ...], ...]
    """Groups with images of several splits."""
    inside: tuple[tuple[tuple[str, str], ...], ...]
    """Groups within one split."""
    unreadable: tuple[str, ...] = ()
    """Images that do not decode."""


@dataclass(frozen=True)
class DatasetStats:
    """The figures of several splits; ``duplicates`` is None if images were not read."""

    splits: tuple[SplitStats, ...]
    duplicates: Duplicates | None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = aligned([["", *(each.split for each in self.splits)], *_rows(self.splits)])
        if self.duplicates is not None:
            lines += _duplicate_lines(self.duplicates, len(self.splits))
        return "\n".join(lines)


def dataset_stats(found: Sequence[AnnotatedSet], *, images: bool = True) -> DatasetStats:
    """Return the figures of splits; without ``images`` none is opened, and near-duplicates are not looked for."""
    splits = tuple(_split_stats(each) for each in found)
    return DatasetStats(splits, find_duplicates(found) if images else None)


def find_duplicates(found: Sequence[AnnotatedSet]) -> Duplicates:
    """Return the groups of near-duplicates among the images of splits; a file that splits share is none of itself."""
    place: dict[str, list[tuple[str, str]]] = {}
    for each in found:
        for record in each.records:
            place.setdefault(record.source, []).append((each.split, record.source))
    sources = list(place)
    groups: dict[int, list[tuple[str, str]]] = {}
    alike = find_alike(sources)
    for source, label in zip(sources, group(len(sources), alike.pairs).tolist(), strict=True):
        groups.setdefault(label, []).extend(place[source])
    several = [tuple(members) for members in groups.values() if len(members) > 1]
    across = tuple(members for members in several if len({split for split, _ in members}) > 1)
    inside = tuple(members for members in several if members not in across)
    return Duplicates(across, inside, tuple(sources[row] for row in alike.unreadable))


def joint_counts(people: Sequence[Person], names: Sequence[str]) -> tuple[JointCount, ...]:
    """Return how often each joint is labeled and hidden on people."""
    labels = np.stack([person.joints[:, 2] for person in people]) if people else np.zeros((0, len(names)))
    labeled, hidden = (labels > 0).sum(0).tolist(), (labels == 1).sum(0).tolist()
    return tuple(JointCount(*each) for each in zip(names, labeled, hidden, strict=True))


def _split_stats(found: AnnotatedSet) -> SplitStats:
    everyone = [person for record in found.records for person in record.persons]
    people = [person for record in found.records for person in _real(record)]
    joints = found.skeleton.num_joints
    boxes = [box_of(person, _size(record)) for record in found.records for person in _real(record)]
    areas = np.array([area_of(person, box) for person, box in zip(people, boxes, strict=True)])
    per_image = [len(_real(record)) for record in found.records]
    quarters = np.unique(np.ceil(np.array([0.25, 0.5, 0.75, 1]) * joints).astype(int)).tolist()
    percent = (5, 25, 50, 75, 95)
    heights = np.percentile([box[3] for box in boxes], percent).round(1).tolist() if people else []
    return SplitStats(
        split=found.split,
        images=len(found.records),
        people=len(people),
        unlabeled=sum(person.num_labeled == 0 for person in people),
        crowds=len(everyone) - len(people),
        joints=joint_counts(people, found.skeleton.joints),
        people_per_image=_histogram(per_image, [0, 1, 2, 5, 10]),
        labeled_per_person=_histogram([person.num_labeled for person in people], [0, *quarters[:-1]], last=joints),
        sizes={
            "small": int((areas < SMALL).sum()),
            "medium": int(((areas >= SMALL) & (areas <= LARGE)).sum()),
            "large": int((areas > LARGE).sum()),
        },
        box_heights={f"{share}%": value for share, value in zip(percent, heights, strict=False)},
        crowding=_histogram([n for record in found.records for n in _neighbors(record)], [0, 2]),
    )


def _real(record: ImageRecord) -> list[Person]:
    """Return the people of an image that are no crowds."""
    return [person for person in record.persons if not person.is_crowd]


def _size(record: ImageRecord) -> tuple[int, int]:
    return record.width, record.height


def _neighbors(record: ImageRecord) -> list[int]:
    """Return for each person of an image the number of others whose boxes overlap theirs."""
    boxes = np.array([box_of(person, _size(record)) for person in _real(record)]).reshape(-1, 4)
    touching = box_overlap(boxes[:, None], boxes[None]) >= TOUCHING
    np.fill_diagonal(touching, False)
    counts: list[int] = touching.sum(1).tolist()
    return counts


def _histogram(values: Sequence[int], ends: Sequence[int], *, last: int | None = None) -> dict[str, int]:
    """Return how many values are in each class; classes end at ``ends``, and the last is open or ends at ``last``."""
    counts = Counter(np.searchsorted(ends, values, "left").tolist())
    starts = [0, *(end + 1 for end in ends)]
    names = [str(end) if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=False)]
    names.append(f"{starts[-1]}+" if last is None else str(last) if last == starts[-1] else f"{starts[-1]}-{last}")
    return {name: counts[row] for row, name in enumerate(names)}


def _rows(splits: Sequence[SplitStats]) -> list[list[str]]:
    """Return the rows of the table; a row with an empty second cell is a heading."""
    rows = [[name, *(f"{getattr(each, name):,}" for each in splits)] for name in ("images", "people")]
    rows.append(["  without labeled joints", *(_share(each.unlabeled, each.people) for each in splits)])
    if any(each.crowds for each in splits):
        rows.append(["crowds", *(f"{each.crowds:,}" for each in splits)])
    for title, name in (
        ("images by people", "people_per_image"),
        ("people by labeled joints", "labeled_per_person"),
        ("people by size (area)", "sizes"),
        ("people by others that overlap them", "crowding"),
    ):
        rows.append([title, *("" for _ in splits)])
        keys = list(getattr(splits[0], name))
        for key in keys:
            values = [getattr(each, name) for each in splits]
            rows.append([f"  {key}", *(_share(value[key], sum(value.values())) for value in values)])
    rows.append(["box height in pixels", *("" for _ in splits)])
    shares = next((list(each.box_heights) for each in splits if each.box_heights), [])
    rows += [[f"  {share}", *(f"{each.box_heights.get(share, 0):g}" for each in splits)] for share in shares]
    rows.append(["joints: labeled, hidden of these", *("" for _ in splits)])
    for number, joint in enumerate(splits[0].joints):
        cells = [each.joints[number] for each in splits]
        rows.append([f"  {joint.name}", *(f"{c.labeled:,}, {_percent(c.hidden, c.labeled)}" for c in cells)])
    return rows


def _share(count: int, of: int) -> str:
    return f"{count:,} ({_percent(count, of)})"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}%" if of else "-"


def _duplicate_lines(found: Duplicates, splits: int) -> list[str]:
    lines = []
    if found.unreadable:
        bad = f"{counted(len(found.unreadable), 'image')} cannot be read, such as {found.unreadable[0]}"
        lines.append(f"warning: {bad}; `pose data check --decode all` lists them")
    if not found.across and not found.inside:
        return [*lines, "no near-duplicate images"]
    for name, groups in (("across splits", found.across), ("within a split", found.inside)):
        if not groups:
            if splits > 1 or name != "across splits":
                lines.append(f"no near-duplicate images {name}")
            continue
        images = sum(map(len, groups))
        lines.append(f"near-duplicates {name}: {counted(len(groups), 'group')} of {counted(images, 'image')}")
        for members in groups[:EXAMPLES]:
            shown = [f"{Path(source).name} ({split})" for split, source in members[:EXAMPLES]]
            more = f" and {len(members) - EXAMPLES} more" if len(members) > EXAMPLES else ""
            lines.append(f"  {' = '.join(shown)}{more}")
        if len(groups) > EXAMPLES:
            lines.append(f"  … and {counted(len(groups) - EXAMPLES, 'more group', 'more groups')}")
    if found.across:
        lines.append("trained on one of them, a network scores too well on the other: divide with `pose data split`")
    return lines
