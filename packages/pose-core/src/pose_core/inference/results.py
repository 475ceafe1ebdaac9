"""Predictions as files: a drawn copy and the poses as JSON for every image."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.inference.detectors import Detector, whole_image
from pose_core.inference.predictor import Found, Predictor
from pose_core.structures import Poses
from pose_core.visualise.draw import draw_poses, palette
from pose_core.visualise.sheet import write_image

Array = np.ndarray

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}


@dataclass
class Summary:
    """What ``predict_paths`` did."""

    folder: Path
    whole_images: bool = False
    images: int = 0
    people: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.people} people in {self.images} images, written to {self.folder}"]
        if self.whole_images:
            lines.append("each image was taken as one person who fills it; --boxes or --detector look for people")
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} images could not be read:")
            lines += [f"  {text}" for text in self.unreadable]
        return "\n".join(lines)


def find_images(inputs: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    """Images named or contained in folders: the file, and its place below the output ``folder``.

    What lies below ``folder`` is our own from an earlier time, unless it is asked for by name.
    """
    found = []
    own = folder.resolve()
    for path in inputs:
        if path.is_dir():
            files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
            if own != path.resolve():
                files = [p for p in files if own not in p.resolve().parents]
            if not files:
                raise DataError(f"folder {path} has no image ({', '.join(sorted(SUFFIXES))})")
            found += [(p, p.relative_to(path)) for p in files]
        elif path.suffix.lower() in VIDEOS:
            raise ConfigError(f"{path} is a video; only images and folders of images can be predicted so far")
        elif path.is_file():
            found.append((path, Path(path.name)))
        else:
            raise DataError(f"input {path} does not exist")
    return found


def plan_targets(images: Sequence[tuple[Path, Path]], folder: Path) -> list[Path]:
    """Where each image's results go, without a suffix: no two alike, and none beside an input."""
    beside = {path.resolve().parent: path for path, _ in images}
    targets: list[Path] = []
    taken: set[Path] = set()
    for _, place in images:
        target = folder / place.with_suffix("")
        number = 1
        while target in taken:  # two inputs of one name: keep both results
            number += 1
            target = folder / place.with_name(f"{place.stem}_{number}")
        neighbour = beside.get(target.resolve().parent)
        if neighbour is not None:
            raise ConfigError(
                f"--out {folder} would put results beside the input {neighbour}, perhaps over files of yours; "
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
) -> Summary:
    """Predict every image and write ``<name>.jpg`` (drawn) and ``<name>.json`` below ``folder``.

    The inputs are never touched. An image that cannot be read is counted and named at the end.
    """
    palette(predictor.skeleton, style)  # an unknown style should not be found out after the first prediction
    images = find_images(inputs, folder)
    targets = plan_targets(images, folder)
    if not predictor.needs_boxes and detector is not whole_image:
        raise ConfigError(
            f"method {predictor.config.method!r} finds people by itself: leave out --boxes and --detector"
        )
    summary = Summary(folder, whole_images=predictor.needs_boxes and detector is whole_image)
    opened = _open_and_detect(images, targets, detector, summary)
    for (path, target, image), poses in predictor.predict_stream(opened):
        summary.images += 1
        summary.people += len(poses)
        write_json(f"{target}.json", {"image": str(path), **as_json(poses)}, indent=1)
        if draw:
            write_image(Path(f"{target}.jpg"), draw_poses(image, poses, threshold, style))
    return summary


def _open_and_detect(
    images: Sequence[tuple[Path, Path]], targets: Sequence[Path], detector: Detector, summary: Summary
) -> Iterator[Found[tuple[Path, Path, Array]]]:
    """The readable images with their people: what to remember of each, pixels, boxes, scores."""
    bar = tqdm(images, "predicting", unit="image", disable=None, file=sys.stderr)
    for (path, _), target in zip(bar, targets, strict=True):
        try:
            image = open_image(str(path), "rgb")
        except DataError as error:
            summary.unreadable.append(str(error))
            continue
        yield (path, target, image), image, *detector(image, path)


def as_json(poses: Poses) -> dict[str, Any]:
    """Poses with their joints' names."""
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
