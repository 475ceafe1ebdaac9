"""Divide an annotation file into training, validation and test files, so that what belongs together stays together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_core.config import DataConfig
from pose_core.data.near_duplicates import find_alike, group
from pose_core.data.sources import split_source
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.layouts.layout import AnnotatedSet
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.stats import joint_counts
from pose_core.plurals import counted
from pose_core.reading.json_text import collector_paused, read_json
from pose_core.text_tables import aligned

Array = np.ndarray

TOO_MUCH = 0.5
"""A group with more than this share of all images cannot be divided well, which is said."""


@dataclass(frozen=True)
class Part:
    """One part: its file, and what is in it."""

    name: str
    file: Path
    images: int
    people: int
    joints: Mapping[str, int]
    """Labeled joints by name."""


@dataclass(frozen=True)
class Division:
    """The parts of a divided file, and how their images were kept together."""

    parts: tuple[Part, ...]
    groups: int
    """Images, or groups of images, that were distributed."""
    largest: int
    """Images of the largest group."""

    def __str__(self) -> str:
        rows = [["", *(part.name for part in self.parts)]]
        rows += [[name, *(str(getattr(part, name)) for part in self.parts)] for name in ("images", "people")]
        rows += [[f"  {joint}", *(str(part.joints[joint]) for part in self.parts)] for joint in self.parts[0].joints]
        lines = aligned(rows)
        total = sum(part.images for part in self.parts)
        if self.groups < total:
            largest = counted(self.largest, "image")
            lines.append(
                f"kept together: {counted(total, 'image')} in {counted(self.groups, 'group')}, at most {largest}"
            )
        if self.largest > TOO_MUCH * total:
            lines.append(
                f"warning: one group has {self.largest} of {counted(total, 'image')}, so the parts cannot have the "
                "sizes asked for"
            )
        return "\n".join([*lines, *(f"written: {part.file}" for part in self.parts)])


def parse_parts(words: Sequence[str]) -> dict[str, float]:
    """Return the shares of ``train=0.8 val=0.1 test=0.1`` by name; they must add up to 1."""
    shares: dict[str, float] = {}
    for word in words:
        match = re.fullmatch(r"([A-Za-z0-9_-]+)=(0?\.\d+|[01]\.?0*)", word)
        if not match or match[1] in shares:
            raise ConfigError(f"--parts {word!r} must be NAME=SHARE, each name once, for example train=0.8 val=0.2")
        shares[match[1]] = float(match[2])
    if len(shares) < 2 or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError(
            f"--parts {' '.join(words)}: give at least two shares above 0 that add up to 1, for example "
            "train=0.8 val=0.1 test=0.1"
        )
    return shares


def divide(
    data: DataConfig,
    split: str,
    shares: Mapping[str, float],
    folder: Path | None = None,
    *,
    by: str = "image",
    seed: int = 0,
    images: bool = True,
) -> Division:
    """Write a COCO annotation file as several: images, with their annotations as they are, in files ``<part>.json``.

    ``folder`` is by default the one of the file. Near-duplicate images stay together (unless ``images`` is False: then
    none is opened); with ``by="video"`` also the frames of one video, which have the same folder and the same name but
    for a number at its end; with another ``by`` the images that have the same value of that key in the file. The same
    seed gives the same parts.
    """
    with collector_paused():
        found = read_dataset(data, split, keep_unlabeled=True)
        if found.layout.merge is None:
            raise ConfigError(
                f"data.layout={found.layout.name} is not in COCO's format; convert it first: pose data convert"
            )
        content = read_json(found.annotation_file)
        groups = _groups(found, content, by, images=images)
        part_of = distribute(groups, list(shares.values()), seed)
        empty = [name for number, name in enumerate(shares) if not (part_of == number).any()]
        if empty:
            raise ConfigError(
                f"{found.annotation_file} has {counted(len(part_of), 'image')} in "
                f"{counted(len(np.unique(groups)), 'group')} that stay together, so {' and '.join(empty)} would get "
                "none; give larger shares or fewer parts with --parts"
            )
        target = found.annotation_file.parent if folder is None else folder
        files = [target / f"{name}.json" for name in shares]
        for file in files:
            if file.exists():
                raise ConfigError(f"{file} exists; move it, or give another folder with --out")
        names = _names(found)
        parts = [
            _write_part(name, file, found, content, names, part_of == number)
            for number, (name, file) in enumerate(zip(shares, files, strict=True))
        ]
    _check_images(data, found, files)
    sizes = np.unique(groups, return_counts=True)[1]
    return Division(tuple(parts), len(sizes), int(sizes.max()))


def distribute(groups: Array, shares: Sequence[float], seed: int) -> Array:
    """Return the part ``(N,)`` of each row, so that rows of one group ``(N,)`` are in one part.

    Groups are taken by falling size, in random order among equal ones; each goes to the part that lacks most.
    """
    labels, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    lacking = np.array(shares) * len(groups)
    part = np.zeros(len(labels), np.int64)
    for label in order.tolist():
        part[label] = int(np.argmax(lacking))
        lacking[part[label]] -= sizes[label]
    chosen: Array = part[inverse.reshape(-1)]
    return chosen


def video_of(source: str) -> str:
    """Return what the frames of one video share: the folder, and the name without a number at its end."""
    path, member = split_source(source)
    name = Path(path if member is None else member)
    return f"{path if member else ''}:{name.parent}/{re.sub(r'[ ._-]*[0-9]+$', '', name.stem)}"


def _groups(found: AnnotatedSet, content: dict[str, Any], by: str, *, images: bool) -> Array:
    """Return the group ``(N,)`` of each image."""
    count = len(found.records)
    if count < 2:
        raise DataError(f"{found.annotation_file} has {counted(count, 'image')}: nothing to divide")
    sources = [record.source for record in found.records]
    keys: list[object] = list(range(count))
    if by == "video":
        keys = [video_of(source) for source in sources]
    elif by != "image":
        entries = {image["id"]: image for image in content["images"]}
        lacking = [record.image_id for record in found.records if by not in entries[record.image_id]]
        if lacking:
            raise ConfigError(
                f"--by {by}: image {lacking[0]} of {found.annotation_file} has no {by!r} ({len(lacking)} of {count} "
                "lack it); other values are image and video"
            )
        keys = [repr(entries[record.image_id][by]) for record in found.records]
    if len(set(keys)) == 1:
        what = "the same folder and name but for a number" if by == "video" else f"the same {by!r}"
        raise ConfigError(
            f"--by {by}: all {count} images of {found.annotation_file} have {what}, so none can be apart; --by image "
            "keeps only near-duplicates together"
        )
    first: dict[object, int] = {}
    pairs = [(first.setdefault(key, row), row) for row, key in enumerate(keys)]
    alike = find_alike(sources).pairs if images else np.zeros((0, 2), np.int64)
    return group(count, np.concatenate([np.array(pairs, np.int64), alike]))


def _names(found: AnnotatedSet) -> dict[int, str]:
    """Return the names of images by id, as a file of any name needs them: relative to images/ if they are below it."""
    places = (found.root / "images", found.root)
    names = {}
    for record in found.records:
        path = Path(record.source)
        place = next((place for place in places if path.is_relative_to(place)), None)
        if place is None:
            raise DataError(f"image {path} is outside of {found.root}; a divided file could not name it")
        names[record.image_id] = path.relative_to(place).as_posix()
    return names


def _write_part(
    name: str, file: Path, found: AnnotatedSet, content: dict[str, Any], names: Mapping[int, str], chosen: Array
) -> Part:
    records = [found.records[row] for row in np.flatnonzero(chosen).tolist()]
    ids = {record.image_id for record in records}
    images = [{**image, "file_name": names[image["id"]]} for image in content["images"] if image["id"] in ids]
    people = [person for person in content["annotations"] if person["image_id"] in ids]
    write_json(file, {**content, "images": images, "annotations": people})
    real = [person for record in records for person in record.persons if not person.is_crowd]
    counts = joint_counts(real, found.skeleton.joints)
    return Part(name, file, len(images), len(real), {joint.name: joint.labeled for joint in counts})


def _check_images(data: DataConfig, found: AnnotatedSet, files: Sequence[Path]) -> None:
    """Raise a DataError if a written file does not lead to the same images."""
    known = {record.image_id: Path(record.source) for record in found.records}
    for file in files:
        for record in read_dataset(data, str(file.absolute())).records:
            if Path(record.source).absolute() != known[record.image_id].absolute():
                raise DataError(
                    f"{file} would find image {record.image_id} at {record.source} instead of "
                    f"{known[record.image_id]}; give the parts other names"
                )
