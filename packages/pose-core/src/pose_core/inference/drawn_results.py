"""The poses of a results file, drawn on their images."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pose_core.data.diagnostics import Problems
from pose_core.data.images import image_exists, open_archive, open_image
from pose_core.data.json_file import read_json
from pose_core.data.sources import image_source
from pose_core.drawing.sheets import write_image
from pose_core.drawing.skeletons import palette
from pose_core.drawing.track_ids import draw_track_ids
from pose_core.errors import ConfigError, DataError
from pose_core.folders import find_data_root
from pose_core.inference.inputs import Input, plan_targets
from pose_core.inference.pipeline import ahead, map_ahead
from pose_core.inference.result_files import poses_from_dict, read_entries, read_frames, read_rows
from pose_core.inference.video import Frame, open_video
from pose_core.inference.video_writing import video_writer
from pose_core.layouts.browse import draw_person
from pose_core.layouts.coco import records_from_coco
from pose_core.layouts.mpii import group_by_image, persons_from_json
from pose_core.layouts.table import get_layout
from pose_core.photos import SUFFIXES, read_photo
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton, get_skeleton
from pose_core.structures import ImageRecord, Person, Poses
from pose_core.verbosity import no_bar

Array = np.ndarray

AHEAD = 8
"""Maximum number of images, or of frames, that wait between two stages."""
GAP = 4
"""Pixels between an image with its annotations and the one with its predictions."""
NAMED = 5
"""The number of missing images that a summary names."""


@dataclass(frozen=True)
class Style:
    """What is drawn of poses: people and joints of at least these scores, in the colors of ``colors``."""

    min_score: float = 0.3
    threshold: float = 0.2
    colors: str = "side"

    def draw(self, image: Array, poses: Poses) -> Array:
        """Return a copy of an image ``(H, W, 3)`` RGB with the people; ids of tracked ones are written above them."""
        kept = poses[poses.pose_scores >= self.min_score]
        drawn = kept.draw(image, self.threshold, self.colors)
        if kept.track_ids is not None:
            draw_track_ids(drawn, kept.keypoints, kept.scores, kept.track_ids, self.threshold)
        return drawn


@dataclass
class Drawn:
    """Counts of what was drawn and what was left out."""

    folder: Path
    min_score: float
    images: int = 0
    frames: int = 0
    people: int = 0
    low: int = 0
    """People who score less than ``min_score``."""
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def add(self, poses: Poses, *, frame: bool = False) -> None:
        """Count an image or a frame."""
        shown = int((poses.pose_scores >= self.min_score).sum())
        self.images += not frame
        self.frames += frame
        self.people += shown
        self.low += len(poses) - shown

    def __str__(self) -> str:
        where = counted(self.frames, "frame") if self.frames else counted(self.images, "image")
        lines = [f"{counted(self.people, 'person', 'people')} drawn on {where}, written to {self.folder}"]
        if self.low:
            score = "scores" if self.low == 1 else "score"
            lines.append(
                f"{counted(self.low, 'person', 'people')} {score} less than --min-score {self.min_score:g}: not drawn"
            )
        if self.missing:
            more = f", and {len(self.missing) - NAMED} more" if len(self.missing) > NAMED else ""
            lines.append(f"{counted(len(self.missing), 'image')} missing: {', '.join(self.missing[:NAMED])}{more}")
        if self.unreadable:
            lines.append(f"{counted(len(self.unreadable), 'image')} could not be read:")
            lines += [f"  {text}" for text in self.unreadable]
        return "\n".join(lines)


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
        return records_from_coco(
            content, self.annotations, self.folder, joints, "{:012d}.jpg", lenient, keep_unlabeled=True
        )

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
            stem, suffix = os.path.splitext(name)  # noqa: PTH122  names of archive members, too
            number = re.search(r"\d+$", stem)
            if number and suffix.lower() in SUFFIXES:
                found.setdefault(int(number[0]), []).append(image_source(self.folder, name))
        return found


class Match(NamedTuple):
    """Poses, whose ``source`` is an image that exists, and the people who are annotated in it."""

    poses: Poses
    people: tuple[Person, ...] = ()


def draw_results(
    predictions: Path,
    images: ImagesOf,
    folder: Path | None = None,
    style: Style | None = None,
    *,
    skeleton: Skeleton | None = None,
    ground_truth: bool = False,
    count: int | None = None,
    overwrite: bool = False,
) -> Drawn:
    """Draw a file of predictions on their images, and write them below ``folder``; the summary counts.

    ``predictions`` are COCO-style results (.json), MPII's or LSP's ``pred.mat``, or what predict writes of an image
    (.json) or a video (.jsonl). The joint set is ``skeleton``, or the best-known one of as many joints. With
    ``ground_truth`` annotated people are drawn beside, on the left. Without a ``folder`` one beside the predictions
    is made. Files that exist are refused, or replaced with ``overwrite``; images are never modified.
    """
    style = style or Style()
    folder = folder or predictions.with_name(f"{predictions.stem}_drawn")
    if not predictions.is_file():
        raise DataError(f"results file {predictions} does not exist")
    if predictions.suffix == ".jsonl":
        return _draw_video(predictions, images, folder, style, skeleton, overwrite=overwrite)
    summary = Drawn(folder, style.min_score)
    matches = _match(predictions, images, skeleton, summary.missing, count)
    if ground_truth and not any(match.people for match in matches):
        raise ConfigError("--ground-truth needs annotated people: give --annotations FILE, or --layout and --root")
    palette(matches[0].poses.skeleton, style.colors)  # raises for an unknown style before anything is written
    inputs = [Input(each.poses.source, "image", Path(each.poses.source), _place(each.poses)) for each in matches]
    targets = [Path(f"{target}.jpg") for target in plan_targets(inputs, folder)]
    _refuse_existing(targets, overwrite=overwrite)

    def work(item: tuple[Match, Path]) -> Poses | str:
        (poses, people), target = item
        try:
            image = _read(poses)
        except DataError as error:
            return str(error).partition("; ")[0]  # without the setting that skips such images in training
        drawn = style.draw(image, poses)
        if ground_truth:
            drawn = _beside(image, people, drawn, poses.skeleton)
        write_image(target, drawn, sync=False)
        return poses

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        results = map_ahead(work, zip(matches, targets, strict=True), pool, AHEAD)
        bar = tqdm(results, "drawing", len(matches), unit="image", leave=False, disable=no_bar(), file=sys.stderr)
        for poses in bar:
            if isinstance(poses, str):
                summary.unreadable.append(poses)
            else:
                summary.add(poses)
    return summary


def _match(
    predictions: Path, images: ImagesOf, skeleton: Skeleton | None, missing: list[str], count: int | None
) -> list[Match]:
    """Return the predictions of the first ``count`` images that exist; the names of the others go to ``missing``."""
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


def _place(poses: Poses) -> Path:
    """Return the name of an image without its folders, which an annotation file may state as it likes."""
    return Path(re.split(r"[/\\@]", poses.source)[-1])


def _read(poses: Poses) -> Array:
    """Return an image ``(H, W, 3)`` RGB as its poses count pixels: as stored, or, if predict read a photo, upright."""
    stored = open_image(poses.source, "rgb")
    if poses.size is None or poses.size == (stored.shape[1], stored.shape[0]):
        return stored
    return read_photo(poses.source)


def _beside(image: Array, people: Sequence[Person], drawn: Array, skeleton: Skeleton) -> Array:
    """Return an image with its annotated people to the left of the drawn predictions."""
    annotated = image.copy()
    for person in people:
        draw_person(annotated, person, skeleton)
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([annotated, gap, drawn], 1)


def _refuse_existing(targets: Sequence[Path], *, overwrite: bool) -> None:
    existing = [] if overwrite else [target for target in targets if target.exists()]
    if existing:
        more = f" and {len(existing) - 1} more already exist" if len(existing) > 1 else " already exists"
        raise ConfigError(f"{existing[0]}{more}; give another folder with --out, or --overwrite")


def _draw_video(
    predictions: Path, images: ImagesOf, folder: Path, style: Style, skeleton: Skeleton | None, *, overwrite: bool
) -> Drawn:
    """Draw the JSON lines of a video on its frames, and write them as a video; frames without a line are left out."""
    if images.folder is None or not images.folder.is_file():
        raise ConfigError(f"{predictions.name} is of a video: give it as --images, for example --images clip.mp4")
    target = folder / f"{images.folder.stem}.mp4"
    _refuse_existing([target], overwrite=overwrite)
    if target.resolve() == images.folder.resolve():
        raise ConfigError(f"--out {folder} would overwrite the video {images.folder}; choose another folder")
    summary = Drawn(folder, style.min_score)
    lines = read_frames(predictions, skeleton)
    upcoming = next(lines, None)

    def drawn(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Array]]:
        nonlocal upcoming
        for frame in frames:
            while upcoming is not None and upcoming[0] < frame.number:
                upcoming = next(lines, None)
            if upcoming is None:
                return
            if upcoming[0] == frame.number:
                summary.add(upcoming[1], frame=True)
                yield frame, style.draw(frame.image, upcoming[1])

    with open_video(images.folder) as video, video_writer(target, video.rate, sound=images.folder) as film:
        total = video.count
        with closing(ahead(drawn(video.frames), AHEAD)) as results:
            for frame, image in tqdm(
                results, "drawing", total, unit="frame", leave=False, disable=no_bar(), file=sys.stderr
            ):
                film(image, frame.clock)
    if not summary.frames:
        raise DataError(f"{predictions} has no line for a frame of {images.folder}: it is of another video")
    return summary
