"""Tiny data sets with known numbers: noise images and people on a grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def write_image(file: Path, width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """Write a smooth random image; return its pixels as OpenCV reads them back."""
    rng = np.random.default_rng(seed)
    pixels = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return cv2.imread(str(file))


def person(identity: int, image_id: int, joints: int = 17, **changes: Any) -> dict[str, Any]:
    """Return a COCO annotation: joint k at (10 + k, 5 + 2k), all visible."""
    numbers = [value for k in range(joints) for value in (10 + k, 5 + 2 * k, 2)]
    return {
        "id": identity,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [8.0, 4.0, 30.0, 40.0],
        "area": 800.0,
        "iscrowd": 0,
        "num_keypoints": joints,
        "keypoints": numbers,
    } | changes


def coco_content(images: int = 2, people: int = 2, width: int = 64, height: int = 48, **changes: Any) -> dict[str, Any]:
    """Return a COCO dictionary: image ids from 1, annotation ids from 10 · image id."""
    return {
        "images": [
            {"id": i, "file_name": f"{i:012d}.jpg", "width": width, "height": height} for i in range(1, images + 1)
        ],
        "annotations": [person(10 * i + j, i) for i in range(1, images + 1) for j in range(people)],
        "categories": [{"id": 1, "name": "person"}],
    } | changes


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_coco(root: Path, content: dict[str, Any], split: str = "train2017") -> Path:
    """Write the annotation file and an image for each entry; return the annotation file."""
    for image in content["images"]:
        write_image(root / "images" / split / image["file_name"], image["width"], image["height"], image["id"])
    return write_json(root / "annotations" / f"person_keypoints_{split}.json", content)
