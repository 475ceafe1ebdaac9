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
from dataclasses import dataclass, field
from pathlib import Path

from pose_core.errors import DataError, UnreadableError
from pose_core.reading.names import check_name

ARCHIVE = ".zip@"


@dataclass(frozen=True)
class _Scope:
    """The folders, without links, that images may be below; and what has been looked up and checked."""

    folders: tuple[str, ...] = ()
    looked_up: dict[str, str] = field(default_factory=dict)
    checked: set[tuple[Path, str]] = field(default_factory=set)


_scope: ContextVar[_Scope | None] = ContextVar("scope", default=None)


def find_images(folder: Path) -> Path:
    """Return the place of images: ``folder`` if it exists, else ``folder.zip`` next to it."""
    archive = folder.parent / f"{folder.name}.zip"
    if folder.is_dir():
        return folder
    if archive.is_file():
        return archive
    raise UnreadableError(f"images not found: expected the folder {folder} or the archive {archive}")


def image_source(place: Path, name: str) -> str:
    """Return the source of image ``name`` in a folder or an archive.

    Raise a DataError for a name that leads out of the place, by ``..`` or a link, unless it leads to a folder of
    `images_below`.
    """
    if place.suffix == ".zip":
        return f"{place}@{check_name(name, f'{place}: image name', absolute_too=True)}"
    check_name(name, f"{place}: image name", absolute_too=True)
    source = str(place / name)
    folder = name.rpartition("/")[0]
    scope = _scope.get()
    if ARCHIVE in name:
        check_inside(split_source(source)[0], str(place), source)
    elif folder and not (scope and (place, folder) in scope.checked):
        check_inside(str((place / name).parent), str(place), source)
        if scope:
            scope.checked.add((place, folder))
    return source


@contextmanager
def images_below(root: Path, folders: Iterable[str] = ()) -> Iterator[None]:
    """Let images be below these folders within the block, also where names or links lead there."""
    before = _scope.set(_Scope(tuple(str(folder.expanduser().resolve()) for folder in (root, *map(Path, folders)))))
    try:
        yield
    finally:
        _scope.reset(before)


def check_inside(path: str, place: str, source: str) -> None:
    """Raise a DataError if a path is, without links, neither below ``place`` nor below a folder of `images_below`.

    The message names the image's ``source``.
    """
    scope = _scope.get() or _Scope()
    found = _without_links(path, scope)
    folders = (_without_links(place, scope), *scope.folders)
    if not any(found == folder or found.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders):
        raise DataError(
            f"image {source} leads out of {place}, to {found}; if that is right, list a folder above it in "
            "data.allowed_folders"
        )


def _without_links(path: str, scope: _Scope) -> str:
    if path not in scope.looked_up:
        scope.looked_up[path] = os.path.realpath(path)
    return scope.looked_up[path]


def split_source(source: str) -> tuple[str, str | None]:
    """Return ``(path, None)`` or ``(archive, member)``."""
    head, separator, member = source.partition(ARCHIVE)
    return (f"{head}.zip", member) if separator else (source, None)
