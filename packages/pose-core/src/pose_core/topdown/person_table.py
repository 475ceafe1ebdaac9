"""The people of a data set as flat arrays, and a cache of them on disk.

Reading COCO's training annotations takes seconds; the arrays made from them load in milliseconds, and processes that
map the same files share their memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose_core.config import DataConfig
from pose_core.digests import digest_of_arrays, file_digest
from pose_core.errors import DataError
from pose_core.folders import cache_home, find_data_root, make_cache
from pose_core.geometry import box_to_center_scale
from pose_core.layouts.reader import read_dataset, remember
from pose_core.layouts.table import get_layout
from pose_core.reading.arrays import read_npy
from pose_core.reading.json_text import read_json
from pose_core.skeleton import get_skeleton
from pose_core.structures import ImageRecord, Person

Array = np.ndarray

VERSION = 3
"""Increased whenever readers or these arrays change: older caches are not used."""
WORTH = 20 * 2**20
"""Minimum bytes of an annotation file for which a cache is worthwhile."""


class PersonTable(NamedTuple):
    """People of a data set, in the order of images and annotations, and their I images."""

    sources: Array
    """``(I,)`` bytes: the path of each image."""
    image_ids: Array
    """``(I,)`` int64."""
    image: Array
    """``(P,)`` int64: the row of each person's image."""
    joints: Array
    """``(P, K, 3)`` float32."""
    center: Array
    """``(P, 2)`` float32."""
    scale: Array
    """``(P, 2)`` float32, in units of 200 pixels."""
    annotation_id: Array
    """``(P,)`` int64."""
    score: Array
    """``(P,)`` float32."""


def tabulate(records: Sequence[ImageRecord], num_joints: int, aspect: float) -> PersonTable:
    """Return the people of ``records``; boxes are extended to ``aspect`` (w/h) and padded by 1.25."""
    people = [(number, person) for number, record in enumerate(records) for person in record.persons]
    places = [_center_scale(person, aspect) for _, person in people]
    return PersonTable(
        sources=np.array([os.fsencode(record.source) for record in records], dtype=np.bytes_),
        image_ids=np.array([record.image_id for record in records], dtype=np.int64),
        image=np.array([number for number, _ in people], dtype=np.int64),
        joints=_stack_joints([person.joints for _, person in people], num_joints),
        center=np.array([center for center, _ in places], dtype=np.float32).reshape(-1, 2),
        scale=np.array([scale for _, scale in places], dtype=np.float32).reshape(-1, 2),
        annotation_id=np.array([person.annotation_id for _, person in people], dtype=np.int64),
        score=np.array([person.score for _, person in people], dtype=np.float32),
    )


def _center_scale(person: Person, aspect: float) -> tuple[object, object]:
    if person.center is not None and person.scale is not None:
        return person.center, person.scale
    if person.box is None:
        raise DataError(f"annotation {person.annotation_id} has neither a box nor a center and a scale to crop by")
    return box_to_center_scale(person.box, aspect)


def _stack_joints(joints: list[Array], count: int) -> Array:
    """Return joints ``(P, K, 3)`` float32; detected people have no joints, which become zeros."""
    stacked = np.zeros((len(joints), count, 3), np.float32)
    for row, one in enumerate(joints):
        if len(one):
            stacked[row] = one
    return stacked


def read_table(config: DataConfig, split: str, aspect: float) -> tuple[PersonTable, str]:
    """Return the people of a split, and the problems of reading it as text ("" for none).

    Large annotation files are read once: the arrays are cached below POSE_HOME (by default ``~/.cache/pose``) and
    reused until the file's content, its images' folder or a setting that matters changes. A cache that is damaged, or
    in a folder into which others can write, is not used.
    """
    root = find_data_root(config.root)
    file = get_layout(config.layout).annotation_file(root, split)
    if not file.exists() or file.stat().st_size < WORTH:
        return _read(config, split, aspect)
    place = cache_home() / "people"
    if not _is_private(place):
        _warn(f"{place} is not a folder of this user's own")
        return _read(config, split, aspect)
    folder = place / _key(config, split, aspect, file, root / "images")
    try:
        stored = _load(folder, get_skeleton(config.skeleton).num_joints)
    except DataError:  # not cached yet, or damaged
        shutil.rmtree(folder, ignore_errors=True)
    else:
        remember(config)
        return stored
    table, problems = _read(config, split, aspect)
    _save(folder, table, problems)
    return table, problems


def _read(config: DataConfig, split: str, aspect: float) -> tuple[PersonTable, str]:
    found = read_dataset(config, split)
    problems = f"{found.annotation_file}:\n{found.problems.summary()}" if found.problems else ""
    return tabulate(found.records, get_skeleton(config.skeleton).num_joints, aspect), problems


def _key(config: DataConfig, split: str, aspect: float, file: Path, images: Path) -> str:
    skeleton = get_skeleton(config.skeleton)
    places = [images, *sorted(images.glob("*"))] if images.is_dir() else []
    # A folder's time changes when a file is added or removed.
    folders = [(str(place), place.stat().st_mtime_ns) for place in places if place.is_dir() or place.suffix == ".zip"]
    parts = [
        VERSION, str(file.resolve()), file_digest(file), folders, config.layout, split, skeleton.joints, aspect,
        config.on_bad_image, config.max_skipped,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _save(folder: Path, table: PersonTable, problems: str) -> None:
    """Write the cache atomically; if several processes write, one of them wins. Without a cache, only time is lost."""
    started = None
    try:
        if not folder.parent.parent.exists():
            make_cache()
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        started = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, column in table._asdict().items():
            np.save(started / f"{name}.npy", column)
        (started / "problems.json").write_text(
            json.dumps({"problems": problems, "digest": digest_of_arrays(table._asdict())})
        )
        started.rename(folder)
    except OSError as error:
        if started is not None:
            shutil.rmtree(started, ignore_errors=True)
        if not (folder / "problems.json").exists():
            _warn(f"cannot write {folder}: {error.strerror}")


def _warn(reason: str) -> None:
    warnings.warn(
        f"the annotations will be read again next time, since their people cannot be cached: {reason}; set POSE_HOME "
        "to a folder of yours",
        stacklevel=3,
    )


def _is_private(folder: Path) -> bool:
    """Return whether nobody but this process's user can put files into a folder; one of ours is made so, and empty."""
    try:
        status = folder.lstat()
        if not hasattr(os, "getuid"):  # Windows: home folders are private
            return stat.S_ISDIR(status.st_mode)
        if status.st_uid == os.getuid() and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            return True
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    except OSError:
        return not folder.exists()


def _load(folder: Path, num_joints: int) -> tuple[PersonTable, str]:
    """Return a cached table; raise a DataError if there is none, or anything in it is not what was written."""
    # asarray leaves the pages mapped and drops memmap's slow indexing.
    columns = (np.asarray(read_npy(folder / f"{name}.npy", "cache", mapped=True)) for name in PersonTable._fields)
    table, notes = PersonTable(*columns), read_json(folder / "problems.json", "cache")
    problems = notes.get("problems") if isinstance(notes, dict) else None
    if (
        not isinstance(problems, str)
        or notes.get("digest") != digest_of_arrays(table._asdict())
        or not _is_whole(table, num_joints)
    ):
        raise DataError(f"{folder} is damaged")
    return table, problems


def _is_whole(table: PersonTable, num_joints: int) -> bool:
    """Return whether types and shapes fit each other, and rows are those of images."""
    images, people = table.image_ids.shape, table.image.shape
    expected = {
        "sources": ("S", images), "image_ids": ("i8", images), "image": ("i8", people),
        "joints": ("f4", (*people, num_joints, 3)), "center": ("f4", (*people, 2)), "scale": ("f4", (*people, 2)),
        "annotation_id": ("i8", people), "score": ("f4", people),
    }  # fmt: skip
    for name, column in table._asdict().items():
        kind, shape = expected[name]
        if column.shape != shape or not column.dtype.str.lstrip("<>|=").startswith(kind):
            return False
    rows = table.image
    return not rows.size or bool(0 <= rows.min() <= rows.max() < len(table.image_ids))
