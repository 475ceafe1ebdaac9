"""What a user wants predicted: files, folders, patterns, URLs, cameras and streams, told apart."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pose_core.errors import ConfigError, DataError
from pose_core.inference.video import SUFFIXES as VIDEOS
from pose_core.inference.video import is_camera, is_stream
from pose_core.photos import SUFFIXES as IMAGES
from pose_core.photos import download, is_url
from pose_core.plurals import counted
from pose_core.reading.images import IMAGE_BRANDS

Kind = Literal["image", "video", "stream"]

_MAGIC = frozenset("*?[")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Input:
    """One image, video or stream.

    ``name`` is what the user gave or what was found there, ``file`` the local file (of a URL its copy; of a camera or
    stream the name), ``place`` the path of its results below the output folder, with the input's own suffix.
    """

    name: str
    kind: Kind
    file: Path
    place: Path


def find_inputs(words: Sequence[str | Path], folder: Path, downloads: Path) -> list[Input]:
    """Return the images, videos and streams that words name; URLs are fetched into ``downloads``.

    A file that is named twice is returned once. Files below the output ``folder`` are taken for results of an earlier
    run and skipped, unless they or ``folder`` are given.
    """
    found: list[Input] = []
    for number, word in enumerate(words):
        name = str(word)
        path = Path(name).expanduser()
        if is_url(name) or is_stream(name):
            found.append(_at_address(name, downloads / str(number)))
        elif path.is_dir():
            files = _below(path, _walk(path), folder)
            if not files:
                raise DataError(f"folder {path} has no image or video ({', '.join(sorted(IMAGES | VIDEOS))})")
            found += files
        elif path.is_file():
            found.append(_file(path, Path(path.name)))
        elif is_camera(name):
            found.append(Input(name, "stream", path, Path(f"camera_{path.name}")))
        elif _MAGIC & set(name):
            files = _matches(path, folder)
            if not files:
                raise DataError(_unmatched(name))
            found += files
        else:
            raise DataError(_missing(name))
    once: dict[str, Input] = {}
    for each in found:
        once.setdefault(each.name if each.kind == "stream" else str(each.file.absolute()), each)
    return list(once.values())


def check_inputs(words: Sequence[str | Path]) -> None:
    """Raise a DataError for the first word that names nothing on this machine; nothing is fetched."""
    for word in words:
        name = str(word)
        path = Path(name).expanduser()
        if path.exists() or is_url(name) or is_stream(name) or is_camera(name):
            continue
        if not _MAGIC & set(name):
            raise DataError(_missing(name))
        if not any(glob.iglob(str(path), recursive=True)):  # noqa: PTH207  for absolute patterns
            raise DataError(_unmatched(name))


def plan_targets(inputs: Sequence[Input], folder: Path) -> list[Path]:
    """Return the path of each input's results, without a suffix: all different, and none next to an input."""
    neighbors = {each.file.resolve().parent: each.name for each in inputs if each.file.exists()}
    targets: list[Path] = []
    taken: set[Path] = set()
    for each in inputs:
        target = folder / each.place.with_suffix("")
        number = 1
        while target in taken:  # two inputs of one name: keep both results
            number += 1
            target = folder / each.place.with_name(f"{each.place.stem}_{number}")
        neighbor = neighbors.get(target.resolve().parent)
        if neighbor is not None:
            raise ConfigError(
                f"--out {folder} would write results next to the input {neighbor} and might overwrite your files; "
                "choose another folder"
            )
        taken.add(target)
        targets.append(target)
    return targets


def _file(path: Path, place: Path) -> Input:
    if path.suffix.lower() in {".zip", ".tar"}:
        raise ConfigError(f"{path} is an archive: add --format jsonl, which predicts the images in it")
    return Input(str(path), "video" if path.suffix.lower() in VIDEOS else "image", path, place)


def _at_address(url: str, folder: Path) -> Input:
    """Return the image or video at a URL, fetched into ``folder``, or a stream."""
    parts = urlsplit(url)
    stem = Path(parts.path).stem or parts.hostname or "stream"
    if is_stream(url):
        return Input(url, "stream", Path(url), Path(stem))
    file = download(url, folder)
    suffix = file.suffix.lower()
    video = suffix in VIDEOS or (suffix not in IMAGES and _is_video(file))
    return Input(url, "video" if video else "image", file, Path(f"{stem}{suffix}"))


def _is_video(file: Path) -> bool:
    """Return whether a file without a telling suffix begins as a video does (MP4, MOV, Matroska, AVI)."""
    with file.open("rb") as opened:
        start = opened.read(12)
    container = start[4:8] == b"ftyp" and start[8:12] not in IMAGE_BRANDS
    return container or start[:4] == b"\x1aE\xdf\xa3" or start[8:12] == b"AVI "


def _matches(pattern: Path, folder: Path) -> list[Input]:
    """Return the images and videos that match a pattern, with their places below its part without wildcards."""
    fixed = []
    for part in pattern.parts:
        if _MAGIC & set(part):
            break
        fixed.append(part)
    base = Path(*fixed)
    found = [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207  for absolute patterns
    files = [file for match in found for file in (_walk(match) if match.is_dir() else [match])]
    return _below(base, files, folder)


def _walk(folder: Path) -> list[Path]:
    """Return what is below a folder, without links out of it."""
    found = list(folder.rglob("*"))
    inside = folder.resolve()
    links = [path for path in found if path.suffix.lower() in IMAGES | VIDEOS and path.is_symlink()]
    outside = [path for path in links if inside not in path.resolve().parents]
    if not outside:
        return found
    _log.warning(
        "%s out of the folder %s left out, such as %s; to use a file outside, name it",
        counted(len(outside), "link"),
        folder,
        outside[0].name,
    )
    return sorted(set(found) - set(outside))


def _below(base: Path, files: Iterable[Path], folder: Path) -> list[Input]:
    """Return the images and videos among files below ``base``, in order, without results of an earlier run."""
    kept = sorted({file for file in files if file.suffix.lower() in IMAGES | VIDEOS and file.is_file()})
    own = folder.resolve()
    if own != base.resolve():
        kept = [file for file in kept if own not in file.resolve().parents]
    return [_file(file, file.relative_to(base)) for file in kept]


def _unmatched(name: str) -> str:
    return f"the pattern {name} matches no image or video ({', '.join(sorted(IMAGES | VIDEOS))})"


def _missing(name: str) -> str:
    """Return a message for an input that does not exist."""
    if name.lower().startswith("www.") or re.match(r"https?:/[^/]", name.lower()):
        return f"input {name} does not exist; a URL begins with https://"
    if "://" in name:
        return f"input {name} cannot be read: URLs of files begin with https:// or http://, streams with rtsp://"
    return f"input {name} does not exist: give an image, a video, a folder, a quoted pattern, a URL or a camera number"
