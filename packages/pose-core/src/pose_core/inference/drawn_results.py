"""The poses of a results file, drawn on their images."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.drawing.sheets import write_image
from pose_core.drawing.skeletons import palette
from pose_core.errors import ConfigError, DataError
from pose_core.inference.drawn_people import draw_people
from pose_core.inference.inputs import Input, plan_targets
from pose_core.inference.pipeline import ahead, map_ahead
from pose_core.inference.result_files import read_frames
from pose_core.inference.result_images import ImagesOf, Match, match_images
from pose_core.inference.video import Frame, open_video
from pose_core.inference.video_writing import video_writer
from pose_core.layouts.browse import draw_person
from pose_core.photos import read_photo
from pose_core.plurals import counted
from pose_core.skeleton import Skeleton
from pose_core.structures import Person, Poses
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
        """Return a copy of an image ``(H, W, 3)`` RGB with the people."""
        return draw_people(image, poses[poses.pose_scores >= self.min_score], self.threshold, self.colors)


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
        if ground_truth or count is not None:
            raise ConfigError(f"{predictions.name} is of a video: --ground-truth and --count are for images")
        return _draw_video(predictions, images, folder, style, skeleton, overwrite=overwrite)
    summary = Drawn(folder, style.min_score)
    matches = match_images(predictions, images, skeleton, summary.missing, count)
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
