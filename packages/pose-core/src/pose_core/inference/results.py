"""Predictions as files: a drawn copy and the poses as JSON for every image, and for every frame of a video."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.drawing.sheets import write_image
from pose_core.drawing.skeletons import palette
from pose_core.engine.interfaces import DetectedImage
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.inference.video import SUFFIXES as VIDEOS
from pose_core.inference.video_results import VideoOptions, predict_video
from pose_core.plugins.predictors import Predictor
from pose_core.structures import Poses
from pose_core.topdown.detectors import Detector, FileDetector, whole_image

Array = np.ndarray

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass
class Summary:
    """Counts of images, frames and people, and the unreadable inputs, of a call of ``predict_paths``."""

    folder: Path
    whole_images: bool = False
    images: int = 0
    frames: int = 0
    people: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        inputs = f"{self.images} images" if self.images or not self.frames else ""
        if self.frames:
            inputs += f"{' and ' if inputs else ''}{self.frames} frames"
        lines = [f"{self.people} people in {inputs}, written to {self.folder}"]
        if self.whole_images:
            lines.append("each whole image was taken as one person; give --boxes or --detector to find people")
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} inputs could not be read:")
            lines += [f"  {text}" for text in self.unreadable]
        return "\n".join(lines)


def find_images(inputs: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    """List the images and videos, given or in given folders: each file and its place below the output ``folder``.

    Files below ``folder`` are taken for results of an earlier run and skipped, unless they or ``folder`` are given.
    """
    found = []
    own = folder.resolve()
    for path in inputs:
        if path.is_dir():
            files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES | VIDEOS and p.is_file()]
            if own != path.resolve():
                files = [p for p in files if own not in p.resolve().parents]
            if not files:
                raise DataError(f"folder {path} has no image or video ({', '.join(sorted(SUFFIXES | VIDEOS))})")
            found += [(p, p.relative_to(path)) for p in files]
        elif path.is_file():
            found.append((path, Path(path.name)))
        else:
            raise DataError(f"input {path} does not exist")
    return found


def plan_targets(images: Sequence[tuple[Path, Path]], folder: Path) -> list[Path]:
    """Return the path of each image's results, without a suffix: all different, and none next to an input."""
    inputs = {path.resolve().parent: path for path, _ in images}
    targets: list[Path] = []
    taken: set[Path] = set()
    for _, place in images:
        target = folder / place.with_suffix("")
        number = 1
        while target in taken:  # two inputs of one name: keep both results
            number += 1
            target = folder / place.with_name(f"{place.stem}_{number}")
        neighbor = inputs.get(target.resolve().parent)
        if neighbor is not None:
            raise ConfigError(
                f"--out {folder} would write results next to the input {neighbor} and might overwrite your files; "
                "choose another folder"
            )
        taken.add(target)
        targets.append(target)
    return targets


def predict_paths(
    predictor: Predictor,
    inputs: Sequence[Path],
    folder: Path,
    *,
    detector: Detector = whole_image,
    threshold: float = 0.2,
    style: str = "side",
    draw: bool = True,
    video: VideoOptions | None = None,
) -> Summary:
    """Predict every image and write ``<name>.jpg`` (drawn) and ``<name>.json`` below ``folder``.

    Of a video, ``<name>.mp4`` is the drawn one, and ``<name>.jsonl`` has a line for each frame; ``video`` has further
    settings. Inputs are never modified. The summary lists unreadable inputs.
    """
    palette(predictor.skeleton, style)  # raises for an unknown style before the first prediction
    found = find_images(inputs, folder)
    places = list(zip(found, plan_targets(found, folder), strict=True))
    images = [(source, target) for source, target in places if source[0].suffix.lower() not in VIDEOS]
    if not predictor.needs_boxes and detector is not whole_image:
        raise ConfigError(f"method {predictor.config.method!r} finds people by itself; remove --boxes and --detector")
    summary = Summary(folder, whole_images=predictor.needs_boxes and detector is whole_image)
    opened = _open_and_detect([s for s, _ in images], [t for _, t in images], detector, summary)
    for (path, target, image), poses in predictor.predict_stream(opened):
        summary.images += 1
        summary.people += len(poses)
        write_json(f"{target}.json", {"image": str(path), **as_json(poses)}, indent=1)
        if draw:
            write_image(Path(f"{target}.jpg"), poses.draw(image, threshold, style))
    videos = [(path, target) for (path, _), target in places if path.suffix.lower() in VIDEOS]
    if videos and isinstance(detector, FileDetector):
        raise ConfigError(f"{videos[0][0]} is a video, and --boxes has no boxes for its frames: use --detector instead")
    options = replace(video or VideoOptions(), threshold=threshold, style=style, draw=draw)
    for path, target in videos:
        try:
            predict_video(predictor, path, target, options, detector, summary)
        except DataError as error:
            summary.unreadable.append(str(error))
    return summary


def _open_and_detect(
    images: Sequence[tuple[Path, Path]], targets: Sequence[Path], detector: Detector, summary: Summary
) -> Iterator[DetectedImage[tuple[Path, Path, Array]]]:
    """Yield the readable images with their people's boxes and scores."""
    bar = tqdm(images, "predicting", unit="image", disable=None, file=sys.stderr)
    for (path, _), target in zip(bar, targets, strict=True):
        try:
            image = open_image(str(path), "rgb")
        except DataError as error:
            summary.unreadable.append(str(error))
            continue
        yield DetectedImage((path, target, image), image, *detector(image, path))


def as_json(poses: Poses) -> dict[str, Any]:
    """Return poses as JSON content, with the joints' names."""
    names = poses.skeleton.joints
    people = []
    for index in range(len(poses)):
        points, scores = poses.keypoints[index].tolist(), poses.scores[index].tolist()
        person: dict[str, Any] = {
            "score": round(float(poses.pose_scores[index]), 5),
            "keypoints": {
                name: [round(x, 2), round(y, 2), round(score, 4)]
                for name, (x, y), score in zip(names, points, scores, strict=True)
            },
        }
        if poses.boxes is not None:
            person["box"] = [round(value, 2) for value in poses.boxes[index].tolist()]
        people.append(person)
    return {"skeleton": poses.skeleton.name, "people": people}
