"""Sources: the names of images in folders and zip archives.

A *source* names an image: a path, or ``archive.zip@member``. Inside an archive the member may be at the top
(``0001.jpg``) or in a folder (``train2017/0001.jpg``, ``images/0001.jpg``); the published form
``train2017.zip@/0001.jpg`` matches either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pose_core.errors import DataError
from pose_core.reading.names import check_name

ARCHIVE = ".zip@"

_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed", default=())
"""The folders, without links, that images may be below."""
_resolved: ContextVar[dict[str, str] | None] = ContextVar("resolved", default=None)
"""Folders that have been looked up, without links."""


def find_images(folder: Path) -> Path:
    """Return the place of images: ``folder`` if it exists, else ``folder.zip`` next to it."""
    archive = folder.parent / f"{folder.name}.zip"
    if folder.is_dir():
        return folder
    if archive.is_file():
        return archive
    raise DataError(f"images not found: expected the folder {folder} or the archive {archive}")


def image_source(place: Path, name: str) -> str:
    """Return the source of image ``name`` in a folder or an archive.

    Raise a DataError for a name that leads out of the place, by ``..`` or a link, unless it leads to a folder of
    `images_below`.
    """
    if place.suffix == ".zip":
        return f"{place}@{check_name(name, f'{place}: image name')}"
    check_name(name, f"{place}: image name", absolute_too=True)
    source = str(place / name)
    if "/" in name or os.sep in name or ARCHIVE in name:
        path, member = split_source(source)
        check_inside(path if member is not None else os.path.dirname(source), str(place), source)  # noqa: PTH120
    return source


@contextmanager
def images_below(root: Path, folders: Iterable[str] = ()) -> Iterator[None]:
    """Let images be below these folders within the block, also where names or links lead there."""
    before = _allowed.set(tuple(str(folder.expanduser().resolve()) for folder in (root, *map(Path, folders))))
    looked_up = _resolved.set({})
    try:
        yield
    finally:
        _resolved.reset(looked_up)
        _allowed.reset(before)


def check_inside(path: str, place: str, source: str) -> None:
    """Raise a DataError if a path is, without links, neither below ``place`` nor below a folder of `images_below`.

    The message names the image's ``source``.
    """
    found = _without_links(path)
    folders = (_without_links(place), *_allowed.get())
    if not any(found == folder or found.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders):
        raise DataError(
            f"image {source} leads out of {place}, to {found}; if that is right, list a folder above it in "
            "data.allowed_folders"
        )


def _without_links(path: str) -> str:
    known = _resolved.get()
    if known is None:
        return os.path.realpath(path)
    if path not in known:
        known[path] = os.path.realpath(path)
    return known[path]


def split_source(source: str) -> tuple[str, str | None]:
    """Return ``(path, None)`` or ``(archive, member)``."""
    head, separator, member = source.partition(ARCHIVE)
    return (f"{head}.zip", member) if separator else (source, None)
