"""Predictions as files: a drawn copy and the poses as JSON for every image."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.errors import ConfigError, DataError
from pose_core.files import write_json
from pose_core.inference.detectors import Detector, whole_image
from pose_core.inference.predictor import Predictor
from pose_core.structures import Poses
from pose_core.visualise.sheet import write_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}


@dataclass
class Summary:
    """What ``predict_paths`` did."""

    folder: Path
    images: int = 0
    people: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.people} people in {self.images} images, written to {self.folder}"]
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} images could not be read:")
            lines += [f"  {text}" for text in self.unreadable]
        return "\n".join(lines)


def find_images(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Images named or contained in folders: the file, and its place below the output folder."""
    found = []
    for path in inputs:
        if path.is_dir():
            below = [(p, p.relative_to(path)) for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES]
            if not below:
                raise DataError(f"folder {path} has no image ({', '.join(sorted(SUFFIXES))})")
            found += below
        elif path.suffix.lower() in VIDEOS:
            raise ConfigError(f"{path} is a video; only images and folders of images can be predicted so far")
        elif path.is_file():
            found.append((path, Path(path.name)))
        else:
            raise DataError(f"input {path} does not exist")
    return found


def predict_paths(
    predictor: Predictor,
    inputs: Sequence[Path],
    folder: Path,
    *,
    detector: Detector = whole_image,
    threshold: float = 0.2,
    draw: bool = True,
) -> Summary:
    """Predict every image and write ``<name>.jpg`` (drawn) and ``<name>.json`` below ``folder``.

    The inputs are never touched. An image that cannot be read is counted and named at the end.
    """
    images = find_images(inputs)
    summary = Summary(folder)
    targets: set[Path] = set()
    for path, place in tqdm(images, "predicting", unit="image", disable=None, file=sys.stderr):
        target = folder / place.with_suffix(".json")
        if target in targets:
            # Two inputs of one name: keep both results apart.
            target = folder / place.parent / f"{place.stem}_{len(targets)}.json"
        targets.add(target)
        drawn = target.with_suffix(".jpg")
        if drawn.resolve() == path.resolve():
            raise ConfigError(f"--out {folder} would write over the input {path}; choose another folder")
        try:
            image = open_image(str(path), "rgb")
        except DataError as error:
            summary.unreadable.append(str(error))
            continue
        poses = predictor(image, *_boxes(detector, image, path))
        summary.images += 1
        summary.people += len(poses)
        write_json(target, {"image": str(path), **as_json(poses)}, indent=1)
        if draw:
            write_image(drawn, poses.draw(image, threshold))
    return summary


def _boxes(detector: Detector, image: Any, path: Path) -> tuple[Any]:
    import numpy as np

    boxes, scores = detector(image, path)
    return (np.concatenate([boxes.reshape(-1, 4), scores.reshape(-1, 1)], 1),)


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
