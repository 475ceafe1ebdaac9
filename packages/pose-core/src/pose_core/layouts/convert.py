"""Convert annotations from one format to another, and say what is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from pose_core.data.images import missing_images, read_bytes
from pose_core.data.sources import split_source
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.files import whole_file
from pose_core.folders import check_folder_name
from pose_core.joint_maps import JointMap, map_joints
from pose_core.layouts.formats.fit import fit
from pose_core.layouts.formats.format import Format, Found, Target, Written
from pose_core.layouts.formats.pictures import check_names, with_sizes
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord
from pose_core.verbosity import no_bar

Images = Literal["link", "copy", "none"]


@dataclass(frozen=True)
class Converted:
    """What was written, and a line for everything that was lost."""

    written: Written
    skeleton: Skeleton
    images: int
    people: int
    lost: tuple[str, ...]

    def __str__(self) -> str:
        files = self.written.files
        more = f" and {counted(len(files) - 1, 'more file')}" if len(files) > 1 else ""
        lines = [f"lost: {line}" for line in self.lost]
        lines += [f"note: {line}" for line in self.written.notes]
        lines.append(
            f"written: {files[-1]}{more}, {counted(self.images, 'image')}, {counted(self.people, 'person', 'people')}, "
            f"{self.skeleton.num_joints} joints"
        )
        return "\n".join(lines)


def convert(
    source: Format,
    paths: Sequence[Path],
    target: Format,
    out: Path,
    *,
    split: str = "",
    name: str = "",
    from_skeleton: Skeleton | None = None,
    to_skeleton: Skeleton | None = None,
    joints: Mapping[str, str | None] | None = None,
    images: Images = "link",
    replace_files: bool = False,
) -> Converted:
    """Read ``paths`` as ``source``, and write them below ``out`` as ``target``.

    ``split`` is the split to read, if a path has several; ``name`` that of the written one. ``to_skeleton`` is the
    joint set to write: by default the target's own, if it can hold no other, or that of the files; ``joints`` names
    the source joint of some of its joints. ``images`` are linked (hard links, which take no space), copied or neither.
    """
    try:
        name = check_folder_name(name or Path(split).name.removesuffix(".json") or "train")
    except ValueError as error:
        raise ConfigError(f"--name {name} {error}") from None
    found = _read(source, paths, split, from_skeleton)
    skeleton = _target_skeleton(target, found.skeleton, to_skeleton)
    try:
        maps = map_joints(found.skeleton.joints, skeleton.joints, joints)
    except ConfigError as error:
        raise ConfigError(f"{error} (--joints TARGET=SOURCE)") from None
    lost = [*found.notes, *lost_joints(found.records, maps)]
    records = [_with_joints(record, maps) for record in found.records]
    if images != "none" or not all(record.width and record.height for record in records):
        _check_there(records)
    records, lines = fit(with_sizes(records), target.lacks)
    if not records:
        raise DataError("nothing to write: no image has a person with a labeled joint of those to write")
    place = Target(out, name, tuple(names_below(records)))
    _check_free(out, target, name, replace_files)
    written = target.write(records, skeleton, place)
    if images != "none":
        _place(records, written.images, link=images == "link")
    elif written.images:
        folder = Path(os.path.commonpath([path.parent for path in written.images]))
        written = replace(
            written, notes=(*written.notes, f"the images belong into {folder}, as {written.images[0].name} …")
        )
    people = sum(not person.is_crowd for record in records for person in record.persons)
    return Converted(written, skeleton, len(records), people, (*lost, *lines))


def _read(source: Format, paths: Sequence[Path], split: str, skeleton: Skeleton | None) -> Found:
    """Return the records of all paths, with ids that differ."""
    parts = [source.read(path, split, skeleton) for path in paths]
    first = parts[0].skeleton
    for path, part in zip(paths, parts, strict=True):
        if part.skeleton.joints != first.joints:
            raise DataError(f"{path}: its joints are not those of {paths[0]}; convert them one by one")
    if len(parts) == 1:
        return parts[0]
    records: list[ImageRecord] = []
    seen: set[str] = set()
    for path, part in zip(paths, parts, strict=True):
        again = next((record.source for record in part.records if record.source in seen), None)
        if again is not None:
            raise DataError(f"{path}: image {again} is in an earlier file, too; remove it from one")
        seen |= {record.source for record in part.records}
        records += part.records
    numbers = iter(range(1, 2**62))
    renumbered = tuple(
        replace(
            record,
            image_id=identity,
            persons=tuple(replace(person, annotation_id=next(numbers)) for person in record.persons),
        )
        for identity, record in enumerate(records, 1)
    )
    return Found(renumbered, first, tuple(dict.fromkeys(note for part in parts for note in part.notes)))


def _target_skeleton(target: Format, own: Skeleton, wanted: Skeleton | None) -> Skeleton:
    if not target.joints:
        return wanted or own
    fixed = get_skeleton(target.joints)
    if wanted is not None and wanted.joints != fixed.joints:
        raise ConfigError(f"--skeleton {wanted.name}: {target.name} files hold the joints of {fixed.name} only")
    return fixed


def lost_joints(records: Sequence[ImageRecord], maps: JointMap) -> list[str]:
    """Return a line for each joint that is not written, and one for those that no file has."""
    lines = []
    for name in maps.unused:
        row = maps.source.index(name)
        labels = sum(bool(person.joints[row, 2]) for record in records for person in record.persons)
        lines.append(f"joint {name}: {counted(labels, 'label')}")
    if maps.lacking:
        lines.append(f"no labels for {', '.join(maps.lacking)}: the files have no such joints (--joints names pairs)")
    return lines


def _with_joints(record: ImageRecord, maps: JointMap) -> ImageRecord:
    if maps.is_identity:
        return record
    return replace(record, persons=tuple(replace(p, joints=maps.apply(p.joints)) for p in record.persons))


def _check_there(records: Sequence[ImageRecord]) -> None:
    missing = missing_images(records)
    if missing:
        raise DataError(
            f"image {missing[0].source} does not exist ({len(missing)} of {len(records)} images are missing); put the "
            "images there, or write annotations alone with --images none"
        )


def names_below(records: Sequence[ImageRecord]) -> list[str]:
    """Return the images' names below the deepest folder that holds all; those of an archive as they are in it."""
    places = [split_source(record.source) for record in records]
    folders = [Path(os.path.abspath(path)).parent for path, member in places if member is None]  # noqa: PTH100
    top = Path(os.path.commonpath(folders)) if folders else Path()
    names = [
        Path(os.path.abspath(path)).relative_to(top).as_posix() if member is None else member.lstrip("/")  # noqa: PTH100
        for path, member in places
    ]
    check_names(names, records)
    return names


def _check_free(out: Path, target: Format, name: str, replace_files: bool) -> None:
    """Raise a ConfigError if the split was written before."""
    file = out / target.written.format(name)
    if file.exists() and not replace_files:
        raise ConfigError(f"{file} exists; give --force to replace it, or another --name or --out")


def _place(records: Sequence[ImageRecord], places: Sequence[Path], *, link: bool) -> None:
    """Link or copy every image to its place; what is in an archive is unpacked."""
    pairs = zip(records, places, strict=True)
    for record, place in tqdm(pairs, "images", len(places), unit="image", disable=no_bar(), leave=False):
        path, member = split_source(record.source)
        if place.exists():
            if member is None and place.samefile(path):
                continue
            if place.read_bytes() != read_bytes(record.source):
                raise DataError(f"{place} exists and is another picture than {record.source}; choose another --out")
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if link and member is None:
            _link(Path(path), place)
        else:
            with whole_file(place, sync=False) as opened:
                opened.write(read_bytes(record.source))


def _link(path: Path, place: Path) -> None:
    try:
        place.hardlink_to(path.resolve())
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.EPERM, errno.ENOTSUP}:
            raise ConfigError(f"{path} cannot be linked to {place}: {error.strerror}; give --images copy") from None
        raise PoseError(f"cannot write {place}: {error.strerror}") from None
