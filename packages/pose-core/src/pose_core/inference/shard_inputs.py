"""The inputs of a prediction in shards: found one after the other, so that few of millions are in memory at a time."""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pose_core.data.images import open_archive
from pose_core.errors import ConfigError, DataError
from pose_core.inference.inputs import check_inputs
from pose_core.inference.video import SUFFIXES as VIDEOS
from pose_core.inference.video import Frame, is_camera, is_stream, open_video
from pose_core.inference.video_segments import frame_times, read_segment
from pose_core.photos import SUFFIXES as IMAGES
from pose_core.photos import decode_photo, is_url, read_photo
from pose_core.plurals import counted
from pose_core.reading.images import MAX_BYTES, decode_image
from pose_core.reading.json_text import parse_json
from pose_core.reading.names import MAX_LENGTH
from pose_core.reading.regular import open_regular, read_regular
from pose_core.reading.tar_archives import TarMember, read_tar_member, tar_members

Array = np.ndarray

ARCHIVES = {".zip", ".tar"}
KNOWN = IMAGES | VIDEOS | ARCHIVES
"""Suffixes of what is predicted."""
_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unit:
    """A picture, frames of a video, or what could not be read when the inputs were listed.

    ``name`` is a file, as it was given or found, or a URL. ``member`` is a picture of an archive; a tar archive has it
    at ``at``, ``size`` bytes long. Of a video, ``ticks`` say when the frames from number ``first`` on are shown, and
    ``start`` when frame 0 is; without them it is read as a whole. ``problem`` says why there is nothing to predict.
    """

    name: str
    member: str = ""
    at: int = 0
    size: int = 0
    video: bool = False
    first: int = 0
    ticks: tuple[int, ...] = ()
    start: int = 0
    problem: str = ""

    @property
    def label(self) -> str:
        """The name to show: of a picture in an archive with the archive; bytes that are no text become ``\\xff``."""
        name = self.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return f"{name}@{self.member}" if self.member else name

    def to_line(self) -> bytes:
        """Return a line of text that `from_line` reads, whatever characters the name has."""
        content = {key: value for key, value in vars(self).items() if value}
        if not _is_text(self.name):
            content["name"] = {"bytes": os.fsencode(self.name).decode("latin-1")}
        return json.dumps(content, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes, where: str) -> Unit:
        """Return the unit of a line; ``where`` names it in messages."""
        content = parse_json(line, where)
        try:
            if isinstance(content["name"], dict):
                content["name"] = os.fsdecode(content["name"]["bytes"].encode("latin-1"))
            if "ticks" in content:
                content["ticks"] = tuple(content["ticks"])
            return cls(**content)
        except (TypeError, KeyError, AttributeError, ValueError):
            raise DataError(f"{where} is not an input as predict lists them: use another --out") from None


def find_units(words: Sequence[str], listed: Path | None, out: Path) -> Iterator[Unit]:
    """Yield the pictures and videos that words and the lines of a file name, in order, whole videos as one unit.

    Folders and patterns are searched for archives, too. Results below ``out`` and links out of a folder are left out.
    The files of a list are not looked up: one that is missing is found out when it is read.
    """
    check_inputs(words)
    for word in words:
        yield from _named(word, out)
    if listed is not None:
        for name in read_list(listed):
            known = _suffix(name) in KNOWN
            yield from _file(name) if known or not Path(name).is_dir() else _below(Path(name), out)


def read_list(file: Path) -> Iterator[str]:
    """Yield the names in a file with one on each line; empty lines are passed over."""
    with open_regular(file, "list of inputs", error=ConfigError) as opened:
        number = 0
        while line := opened.readline(MAX_LENGTH + 2):
            number += 1
            name = os.fsdecode(line.rstrip(b"\r\n"))
            if len(line) > MAX_LENGTH:
                raise DataError(f"{file}, line {number} is longer than {MAX_LENGTH} bytes: give one path on each line")
            if "\0" in name:
                raise DataError(f"{file}, line {number} holds a zero character: give one path on each line")
            if name.strip():
                yield name


def identity(unit: Unit) -> str:
    """Return what two units of the same picture or video have in common."""
    place = unit.name if is_url(unit.name) else os.path.abspath(unit.name)  # noqa: PTH100  a million times
    return f"{place}\0{unit.member}\0{unit.at}"


def read_picture(unit: Unit, base: Path, *, stored: bool) -> Array:
    """Return the pixels ``(H, W, 3)`` RGB uint8 of a picture, upright, or with ``stored`` as annotations count them.

    Relative names are below ``base``. A DataError says why a picture cannot be read.
    """
    if is_url(unit.name):
        return read_photo(unit.name)
    file = base / unit.name
    if unit.size:
        content = read_tar_member(file, TarMember(unit.member, unit.at, unit.size))
    elif unit.member:
        content = open_archive(str(file)).read(unit.member)
    else:
        content = read_regular(file, "image", limit=MAX_BYTES)
    if stored:
        return cv2.cvtColor(decode_image(content, f"image {unit.label}", _STORED), cv2.COLOR_BGR2RGB)
    return decode_photo(content, unit.label)


def read_frames(unit: Unit, base: Path) -> Iterator[Frame]:
    """Yield the frames of a unit of a video; raise a DataError after those that can be read if some cannot."""
    file = base / unit.name
    if not unit.ticks:
        with open_video(file) as video:
            yield from video.frames
        return
    read = 0
    for frame in read_segment(file, unit.first, unit.ticks, unit.start):
        read += 1
        yield frame
    if read < len(unit.ticks):
        last = unit.first + len(unit.ticks) - 1
        raise DataError(
            f"video {unit.label}: {len(unit.ticks) - read} of the frames {unit.first} to {last} are damaged"
        )


def _named(word: str, out: Path) -> Iterator[Unit]:
    path = Path(word).expanduser()
    if is_stream(word) or (is_camera(word) and not path.is_file()):
        raise ConfigError(f"{word} is a camera or a stream, which cannot be divided into shards: remove --format")
    if is_url(word):
        yield from _file(word)
    elif path.is_dir():
        yield from _below(path, out)
    elif path.is_file():
        yield from _file(str(path))
    else:
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  for absolute patterns
            if Path(match).is_dir():
                yield from _below(Path(match), out)
            elif _suffix(match) in KNOWN:
                yield from _file(match)


def _file(name: str) -> Iterator[Unit]:
    """Yield a picture, a video, or the pictures of an archive."""
    suffix = _suffix(name)
    if suffix in VIDEOS and is_url(name):
        yield Unit(name, problem=f"video {name} is at an address, and its parts are on no disk: download it")
    elif suffix in ARCHIVES and is_url(name):
        yield Unit(name, problem=f"archive {name} is at an address: download it")
    elif suffix in VIDEOS:
        yield _video(name)
    elif suffix in ARCHIVES:
        yield from _archive(name, suffix)
    else:
        yield Unit(name)


def _video(name: str) -> Unit:
    try:
        times = frame_times(Path(name))
    except DataError as error:
        return Unit(name, problem=str(error))
    return Unit(name, video=True, ticks=tuple(times), start=times[0]) if times else Unit(name, video=True)


def _archive(name: str, suffix: str) -> Iterator[Unit]:
    found = 0
    try:
        if suffix == ".tar":
            for member in tar_members(Path(name)):
                if _is_picture(member.name):
                    found += 1
                    yield Unit(name, member.name, member.at, member.size)
        else:
            for stored in dict.fromkeys(open_archive(name).file.namelist()):
                if _is_picture(stored):
                    found += 1
                    yield Unit(name, stored)
    except DataError as error:
        yield Unit(name, problem=str(error))
        return
    if not found:
        yield Unit(name, problem=f"archive {name} has no image ({', '.join(sorted(IMAGES))})")


def _is_picture(member: str) -> bool:
    return _suffix(member) in IMAGES and not member.startswith("__MACOSX/")


def _below(folder: Path, out: Path) -> Iterator[Unit]:
    """Yield what is below a folder, in the order of names; only one folder's names are in memory at a time."""
    own = "" if os.path.realpath(folder) == os.path.realpath(out) else os.path.realpath(out)
    links: list[str] = []
    for file in _walk(str(folder), os.path.realpath(folder), own, links):
        yield from _file(file)
    if links:
        _log.warning(
            "%s out of the folder %s left out, such as %s; to use a file outside, name it",
            counted(len(links), "link"), folder, links[0],
        )  # fmt: skip


def _walk(folder: str, inside: str, own: str, links: list[str]) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if os.path.realpath(entry.path) != own:
                yield from _walk(entry.path, inside, own, links)
        elif _suffix(entry.name) in KNOWN and entry.is_file():
            if entry.is_symlink() and not os.path.realpath(entry.path).startswith(inside.rstrip(os.sep) + os.sep):
                links.append(entry.name)
                continue
            yield entry.path


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  a million times


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
