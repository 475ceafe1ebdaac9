"""The images that predictions are of: named by annotations, by a data set's layout, or by numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pose_core.data.coco_file import check_coco
from pose_core.data.diagnostics import Problems
from pose_core.data.images import image_exists, open_archive
from pose_core.data.sources import image_source
from pose_core.errors import ConfigError, DataError
from pose_core.folders import find_data_root
from pose_core.inference.result_files import poses_from_dict, read_entries, read_rows
from pose_core.layouts.coco import records_from_coco
from pose_core.layouts.mpii import group_by_image, persons_from_json
from pose_core.layouts.table import get_layout
from pose_core.photos import SUFFIXES
from pose_core.plurals import counted
from pose_core.reading.json_text import read_json
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord, Person, Poses


@dataclass(frozen=True)
class ImagesOf:
    """The images that predictions are of: a folder, an archive or a video, or a split of a data set in a layout.

    ``annotations`` is an annotation file that names the images of the folder, in COCO's form or MPII's (a list).
    """

    folder: Path | None = None
    annotations: Path | None = None
    layout: str | None = None
    root: str = ""
    split: str | None = None

    def records(self, skeleton: Skeleton | None = None) -> tuple[ImageRecord, ...] | None:
        """Return the annotated images, None if there are no annotations; faulty people in them are left out."""
        lenient = Problems(keep_going=True)
        if self.layout is not None:
            layout, root = get_layout(self.layout), find_data_root(self.root)
            joints = skeleton or get_skeleton(layout.skeleton)
            return layout.read(root, self.split or layout.val, joints, lenient, keep_unlabeled=True)
        if self.annotations is None or self.folder is None:
            return None
        content = read_json(self.annotations)
        if isinstance(content, list):
            people = persons_from_json(content, self.annotations, skeleton or get_skeleton("mpii16"), lenient)
            return group_by_image(people, self.folder)
        joints = skeleton or get_skeleton("coco17")
        found = check_coco(content, self.annotations, lenient, joints.num_joints, joints)
        if len(found.image_ids) < len(content["images"]):  # faults of images come first
            check_coco(content, self.annotations, Problems(), joints.num_joints, joints)
        return records_from_coco(found, self.annotations, self.folder, "{:012d}.jpg", lenient, keep_unlabeled=True)

    def numbered(self) -> dict[int, list[str]]:
        """Return the sources of a folder's or an archive's images by the number at the end of their names."""
        if self.folder is None:
            raise ConfigError("where are the images? Give --images DIR, or --layout NAME --root DIR")
        if self.folder.is_dir():
            names = [file.name for file in self.folder.iterdir()]
        elif self.folder.suffix == ".zip":
            names = list(open_archive(str(self.folder)).file.namelist())
        else:
            raise DataError(f"--images {self.folder} is not a folder or a zip file of images")
        found: dict[int, list[str]] = {}
        for name in sorted(names):
            file = PurePosixPath(name)
            number = re.search(r"\d+$", file.stem)
            if number and file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                found.setdefault(int(number[0]), []).append(image_source(self.folder, name))
        return found


class Match(NamedTuple):
    """Poses, whose ``source`` is an image that exists, and the people who are annotated in it."""

    poses: Poses
    people: tuple[Person, ...] = ()


def match_images(
    predictions: Path, images: ImagesOf, skeleton: Skeleton | None, missing: list[str], count: int | None
) -> list[Match]:
    """Return a file's predictions of the first ``count`` images that exist, with these images.

    The names of images that do not exist are appended to ``missing``; if none exists, a DataError is raised.
    """
    if predictions.suffix == ".mat":
        records = images.records(skeleton)
        if records is None:
            raise ConfigError(
                f"{predictions.name} has one row for each annotated person: give --layout and --root of the data set, "
                "or MPII's annot/*.json as --annotations"
            )
        joints = skeleton if images.layout is None else skeleton or get_skeleton(get_layout(images.layout).skeleton)
        found = read_rows(predictions, records, joints)
    elif _starts_as_mapping(predictions):
        return [_match_photo(predictions, images, skeleton)]
    else:
        found = read_entries(predictions, skeleton)
        records = images.records(next(iter(found.values())).skeleton)
    matches: list[Match] = []
    for match in _with_sources(predictions, found, images, records):
        if match.poses.source and image_exists(match.poses.source):
            matches.append(match)
        else:
            missing.append(re.split(r"[/\\@]", match.poses.source)[-1])
        if len(matches) == count:
            break
    if not matches:
        place = images.folder or images.root
        raise DataError(
            f"none of the {counted(len(missing), 'image')} of {predictions} is in {place}; the first is {missing[0]}. "
            "If the images have other names, give --annotations FILE"
        )
    return matches


def _with_sources(
    predictions: Path, found: Mapping[int, Poses], images: ImagesOf, records: Sequence[ImageRecord] | None
) -> Iterator[Match]:
    """Yield the poses of each image with its source; of an image that is not found, the source is its usual name."""
    if records is not None:
        by_id = {record.image_id: record for record in records}
        strangers = [number for number in found if number not in by_id]
        if strangers:
            raise DataError(
                f"{predictions}: {counted(len(strangers), 'image')} not in the annotations, for example image id "
                f"{strangers[0]}; give the annotations of the split that was predicted"
            )
        for number, record in by_id.items():
            if number in found:
                yield Match(replace(found[number], source=record.source), record.persons)
        return
    numbered = images.numbered()
    for number, poses in found.items():
        sources = numbered.get(number, [f"{number:012d}.jpg"])
        if len(sources) > 1:
            raise DataError(
                f"image id {number} may be {' or '.join(sources)}: give --annotations FILE, which names the images"
            )
        yield Match(replace(poses, source=sources[0]))


def _starts_as_mapping(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _match_photo(predictions: Path, images: ImagesOf, skeleton: Skeleton | None) -> Match:
    """Return the poses of a photo's JSON file that predict wrote."""
    content = read_json(predictions, "results file")
    if "people" not in content:
        raise DataError(
            f"{predictions} has {', '.join(list(content)[:5])} but no results: give a list of results, or the JSON "
            "file of a photo that predict wrote; `pose data browse` draws annotations"
        )
    poses = poses_from_dict(content, str(predictions), skeleton)
    name = Path(poses.source)
    places = [name] if images.folder is None else [images.folder / name, images.folder / name.name, images.folder]
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        raise DataError(f"image {name} of {predictions} is not in {images.folder or Path.cwd()}; give --images DIR")
    return Match(replace(poses, source=str(source)))
