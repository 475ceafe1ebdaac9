"""Predict poses in images with the network in this folder. Needs numpy, onnxruntime, and OpenCV or Pillow.

    python predict.py photo.jpg --box 40,20,180,400

prints the poses as JSON. A network that finds people by itself takes no boxes. From Python:

    from predict import predict, read_image
    poses = predict(read_image("photo.jpg"), [(40, 20, 180, 400)])
    poses.keypoints  # (N, K, 2) pixels of the image; poses.scores (N, K), poses.pose_scores (N,)

model.onnx takes RGB pixels, and has the network with normalization, flip test and decoding; skeleton.json has the
names of the K joints, settings.json what this file needs to know.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
HERE = Path(__file__).parent
BATCH = 32
"""Largest number of crops that the network takes at a time."""


class Poses(NamedTuple):
    """``keypoints`` ``(N, K, 2)`` x, y in pixels, ``scores`` ``(N, K)`` of joints, ``pose_scores`` ``(N,)``."""

    keypoints: Array
    scores: Array
    pose_scores: Array


@cache
def load() -> tuple[Any, dict[str, Any], list[str]]:
    """Return the network's session, the settings and the joints' names."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=onnxruntime.get_available_providers())
    settings = json.loads((HERE / "settings.json").read_text("utf-8"))
    return session, settings, json.loads((HERE / "skeleton.json").read_text("utf-8"))["joints"]


def read_image(path: str | Path) -> Array:
    """Return a photo as RGB ``(H, W, 3)`` uint8, upright."""
    try:
        import cv2
    except ImportError:
        from PIL import Image, ImageOps

        with Image.open(path) as photo:
            return np.array(ImageOps.exif_transpose(photo).convert("RGB"))
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is not an image")
    return np.ascontiguousarray(pixels[..., ::-1])


def predict(image: Array, boxes: Sequence[Sequence[float]] | Array | None = None) -> Poses:
    """Return the poses in an image ``(H, W, 3)`` RGB uint8.

    ``boxes`` ``(N, 4)`` are the people's boxes x, y, w, h, or ``(N, 5)`` with their scores. A network that finds
    people by itself takes none.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    settings = load()[1]
    if settings["images"] == "whole":
        if boxes is not None:
            raise ValueError("this network finds people by itself; give no boxes")
        return _predict_whole(image, settings)
    if boxes is None:
        warnings.warn("without boxes the whole image is taken as one person", stacklevel=2)
        height, width = image.shape[:2]
        boxes = [(0.1 * width, 0.1 * height, 0.8 * width, 0.8 * height)]
    table = np.asarray(boxes, np.float64) if len(boxes) else np.zeros((0, 4))
    if table.ndim != 2 or table.shape[1] not in (4, 5) or not np.isfinite(table).all() or (table[:, 2:4] <= 0).any():
        raise ValueError("boxes must be (N, 4) x, y, width, height in pixels, or (N, 5) with scores")
    return _predict_boxes(image, table, settings)


def _predict_boxes(image: Array, boxes: Array, settings: dict[str, Any]) -> Poses:
    session, _, joints = load()
    keypoints, scores = np.zeros((len(boxes), len(joints), 2), np.float32), np.zeros((len(boxes), len(joints)))
    for start in range(0, len(boxes), BATCH):
        matrices = [box_matrix(box[:4], settings) for box in boxes[start : start + BATCH]]
        crops = np.stack([warp(image, matrix, settings["input_size"]) for matrix in matrices])
        points, values = session.run(None, {"images": crops})
        for row, matrix in enumerate(matrices):
            keypoints[start + row] = to_image(points[row], matrix) - settings["bias"]
        scores[start : start + BATCH] = values
    # A person's score: that of the box, times the mean of the joints' scores above a threshold.
    above = scores > settings["joint_threshold"]
    mean = (scores * above).sum(1) / np.maximum(above.sum(1), 1)
    return Poses(keypoints, scores, mean * (boxes[:, 4] if boxes.shape[1] == 5 else 1))


def _predict_whole(image: Array, settings: dict[str, Any]) -> Poses:
    size, matrix = whole_view(image.shape[1], image.shape[0], settings)
    keypoints, scores, pose_scores, found = load()[0].run(None, {"images": warp(image, matrix, size)[None]})
    return Poses(to_image(keypoints[found], matrix), scores[found], pose_scores[found])


def box_matrix(box: Array, settings: dict[str, Any]) -> Array:
    """Return the affine map ``(2, 3)`` from the image to the network's input, for a box x, y, w, h and a margin."""
    (width, height), (x, y, w, h) = settings["input_size"], (float(value) for value in box)
    aspect = width / height
    w_shown, h_shown = (w, w / aspect) if w > aspect * h else (h * aspect, h)
    side, tall = np.array([w_shown / 200, h_shown / 200], np.float32) * np.float32(1.25) * np.float32(settings["scale"])
    # The unbiased convention measures between the centers of the outer pixels; the published one has one factor.
    less = 1 if settings["convention"] == "unbiased" else 0
    zoom_x = (width - less) / (float(side) * 200)
    zoom_y = (height - less) / (float(tall) * 200) if less else zoom_x
    center = np.array([x + w * 0.5, y + h * 0.5], np.float32).astype(np.float64)
    linear = np.diag([zoom_x, zoom_y])
    return np.column_stack([linear, np.array([width - less, height - less]) / 2 - linear @ center])


def whole_view(width: int, height: int, settings: dict[str, Any]) -> tuple[tuple[int, int], Array]:
    """Return the size (w, h) to which an image is resized, sides multiples of 64, and the map ``(2, 3)`` to it."""
    base = (settings["input_size"][0] + 63) // 64 * 64
    long = int((base / min(width, height) * max(width, height) + 63) // 64 * 64)
    size = (base, long) if width < height else (long, base)
    across = width if width < height else size[0] / size[1] * height
    factor = float(size[0] / (np.float32(across / 200) * np.float32(200)))
    center = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)], np.float64)
    return size, np.column_stack([np.eye(2) * factor, np.array(size) / 2 - center * factor])


def invert(matrix: Array) -> tuple[Array, Array]:
    """Return the inverse of an affine map ``(2, 3)``: its linear part ``(2, 2)``, and its offset ``(2,)``."""
    (a, b, c), (d, e, f) = matrix
    linear = np.array([[e, -b], [-d, a]]) * (1 / (a * e - b * d))
    return linear, -linear[:, 0] * c - linear[:, 1] * f


def to_image(points: Array, matrix: Array) -> Array:
    """Map points ``(…, 2)`` of the network's input to the image, by the inverse of ``matrix``."""
    linear, offset = invert(matrix)
    return points.astype(np.float64) @ linear.T + offset


def warp(image: Array, matrix: Array, size: Sequence[int]) -> Array:
    """Return the input ``(h, w, 3)`` of ``size`` (w, h), bilinear, black outside the image."""
    try:
        import cv2
    except ImportError:
        return _warp(image, matrix, size)
    return cv2.warpAffine(image, matrix, tuple(size), flags=cv2.INTER_LINEAR)


def _warp(image: Array, matrix: Array, size: Sequence[int]) -> Array:
    """Do what OpenCV's warp does, in the same float32 steps, each a product and a sum rounded once."""
    linear, offset = invert(matrix)
    ((a, b), (c, d)), (e, f) = linear.astype(np.float32), offset.astype(np.float32)
    column, row = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)[:, None]
    x, y = _fused(a, column, b * row + e), _fused(c, column, d * row + f)
    left, top = np.floor(x), np.floor(y)
    u, v = (x - left)[..., None], (y - top)[..., None]
    i, j = left.astype(int), top.astype(int)

    def pixel(j: Array, i: Array) -> Array:
        inside = (i >= 0) & (j >= 0) & (i < image.shape[1]) & (j < image.shape[0])
        values = image[j.clip(0, image.shape[0] - 1), i.clip(0, image.shape[1] - 1)]
        return np.where(inside[..., None], values, 0).astype(np.float32)

    first, second, third, fourth = pixel(j, i), pixel(j, i + 1), pixel(j + 1, i), pixel(j + 1, i + 1)
    upper, lower = _fused(u, second - first, first), _fused(u, fourth - third, third)
    return np.rint(_fused(v, lower - upper, upper)).astype(np.uint8)


def _fused(a: Array, b: Array, c: Array) -> Array:
    """Return a·b + c, rounded to float32 once."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)


def main() -> None:
    """Print the poses in an image as JSON."""
    parser = argparse.ArgumentParser(description="Predict poses in an image; print them as JSON.")
    parser.add_argument("image")
    parser.add_argument("--box", action="append", metavar="X,Y,W,H", help="a person's box in pixels; repeat for more")
    args = parser.parse_args()
    boxes = [[float(number) for number in box.split(",")] for box in args.box] if args.box else None
    poses, joints = predict(read_image(args.image), boxes), load()[2]
    people = []
    for points, scores, total in zip(*poses, strict=True):
        rows = np.column_stack([points, scores]).tolist()
        people.append({"score": float(total), "keypoints": dict(zip(joints, rows, strict=True))})
    print(json.dumps(people, indent=1))


if __name__ == "__main__":
    main()
