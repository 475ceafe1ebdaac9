"""The images of records: their names below a folder, and their sizes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pose_core.data.images import read_bytes
from pose_core.data.sources import split_source
from pose_core.errors import DataError
from pose_core.reading.images import image_size
from pose_core.structures import ImageRecord


def file_names(records: Sequence[ImageRecord], images: Path | None) -> list[str]:
    """Return the records' file names, relative to the folder ``images``, or without any folder if that is None.

    The name of an image in an archive is that of the member. Raise a DataError if two images get the same name.
    """
    place = None if images is None else os.path.realpath(images)
    names = [_file_name(record.source, place) for record in records]
    check_names(names, records)
    return names


def check_names(names: Sequence[str], records: Sequence[ImageRecord]) -> None:
    """Raise a DataError if two images get the same name; an image may be in several records."""
    seen: dict[str, str] = {}
    for name, record in zip(names, records, strict=True):
        if seen.setdefault(name, record.source) != record.source:
            raise DataError(f"images {seen[name]} and {record.source} would both be named {name!r}; rename one")


def _file_name(source: str, place: str | None) -> str:
    path, member = split_source(source)
    if place is None:
        return Path(path if member is None else member).name
    if member is not None:
        return member.lstrip("/")
    file = Path(os.path.realpath(Path(path).parent), Path(path).name)  # a link keeps its own name
    return (file.relative_to(place) if file.is_relative_to(place) else file).as_posix()


def with_sizes(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return the records with width and height, read from the headers of the images that state none."""
    return [record if record.width and record.height else _with_size(record) for record in records]


def _with_size(record: ImageRecord) -> ImageRecord:
    width, height = image_size(read_bytes(record.source), f"image {record.source}")
    return replace(record, width=width, height=height)
