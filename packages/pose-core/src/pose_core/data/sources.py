"""Sources: the names of images in folders and zip archives.

A *source* names an image: a path, or ``archive.zip@member``. Inside an archive the member may be at the top
(``0001.jpg``) or in a folder (``train2017/0001.jpg``, ``images/0001.jpg``); the published form
``train2017.zip@/0001.jpg`` matches either.
"""

from __future__ import annotations

from pathlib import Path

from pose_core.errors import DataError

ARCHIVE = ".zip@"


def find_images(folder: Path) -> Path:
    """Return the place of images: ``folder`` if it exists, else ``folder.zip`` next to it."""
    archive = folder.parent / f"{folder.name}.zip"
    if folder.is_dir():
        return folder
    if archive.is_file():
        return archive
    raise DataError(f"images not found: expected the folder {folder} or the archive {archive}")


def image_source(place: Path, name: str) -> str:
    """Return the source of image ``name`` in a folder or an archive."""
    return f"{place}@{name}" if place.suffix == ".zip" else str(place / name)


def split_source(source: str) -> tuple[str, str | None]:
    """Return ``(path, None)`` or ``(archive, member)``."""
    head, separator, member = source.partition(ARCHIVE)
    return (f"{head}.zip", member) if separator else (source, None)
