"""The images that a report shows: which, and as small pictures with annotations or predictions drawn on them."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pose_core.data.images import open_image
from pose_core.drawing.skeletons import draw_skeleton, palette
from pose_core.errors import DataError
from pose_core.evaluation.analysis import ImageErrors
from pose_core.layouts.browse import draw_person
from pose_core.reading.printable import printable
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Poses

Array = np.ndarray

COUNT = 24
"""Images that a report shows."""
LONGEST = 360
"""The longest side of a picture, in pixels."""
MOST_BYTES = 26_000
"""The size of a picture's JPEG, which is compressed harder if it is larger: so the page stays below 2.5 MB."""
QUALITIES = (80, 65, 50, 35, 20, 10)
SHOWN_SCORE = 0.3
"""Detections beyond the number of annotated people are drawn from this score on."""


@dataclass(frozen=True)
class Choice:
    """An image to show, and why: ``worst``, ``median`` or ``best``."""

    kind: str
    errors: ImageErrors


def choose_images(images: Sequence[ImageErrors], count: int = COUNT) -> list[Choice]:
    """Return the worst half of ``count`` images with labeled people, a quarter around the median, and the best quarter.

    Images are ranked by their similarity, then by the people who were missed and detections of nobody.
    """
    ranked = sorted(
        (each for each in images if each.people and math.isfinite(each.similarity)),
        key=lambda each: (each.similarity, -each.missed - each.spurious, each.image_id),
    )
    half, quarter = count - count // 4 * 2, count // 4
    if len(ranked) <= count:
        first, last = round(len(ranked) / 2), round(len(ranked) * 3 / 4)
        kinds = ["worst"] * first + ["median"] * (last - first) + ["best"] * (len(ranked) - last)
        return [Choice(kind, each) for kind, each in zip(kinds, ranked, strict=True)]
    start = min(max((len(ranked) - quarter) // 2, half), len(ranked) - 2 * quarter)
    parts = {"worst": ranked[:half], "median": ranked[start : start + quarter], "best": ranked[-quarter:]}
    return [Choice(kind, each) for kind, part in parts.items() for each in part]


def image_name(record: ImageRecord) -> str:
    """Return an image's name for readers, without its folders."""
    return printable(record.source.replace("\\", "/").replace("@", "/").rsplit("/", 1)[-1])


def annotated(record: ImageRecord, skeleton: Skeleton) -> str:
    """Return the image with its annotated people as a data URI; empty if the image cannot be read."""
    image, zoom = _small(record)
    if image is None:
        return ""
    for person in record.persons:
        box = None if person.box is None else scaled(person.box, zoom)
        joints = person.joints * np.array([zoom, zoom, 1], np.float32)
        draw_person(image, replace(person, joints=joints, box=box), skeleton)
    return data_uri(image)


def predicted(record: ImageRecord, poses: Poses | None, skeleton: Skeleton) -> str:
    """Return the image with its predicted people as a data URI; empty if the image cannot be read.

    All joints are drawn, whatever their scores, of as many people as are annotated, those of the highest scores, and of
    others with a score of at least `SHOWN_SCORE`.
    """
    image, zoom = _small(record)
    if image is None:
        return ""
    colors = palette(skeleton)
    for points in [] if poses is None else shown_people(poses, len(record.persons)).keypoints:
        draw_skeleton(image, points * zoom, np.ones(len(points), bool), skeleton, colors)
    return data_uri(image)


def shown_people(poses: Poses, annotated_people: int) -> Poses:
    """Return the poses that a picture shows, in their order."""
    rank = np.argsort(np.argsort(-poses.pose_scores, kind="stable"), kind="stable")
    return poses[(rank < annotated_people) | (poses.pose_scores >= SHOWN_SCORE)]


def scaled(box: tuple[float, float, float, float], zoom: float) -> tuple[float, float, float, float]:
    """Return a box x, y, w, h of an image that is resized."""
    x, y, w, h = box
    return x * zoom, y * zoom, w * zoom, h * zoom


def _small(record: ImageRecord) -> tuple[Array | None, float]:
    try:
        image = open_image(record.source, "rgb")
    except DataError:
        return None, 1.0
    zoom = min(1.0, LONGEST / max(image.shape[:2]))
    size = tuple(max(1, round(side * zoom)) for side in image.shape[1::-1])
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)), zoom


def data_uri(image: Array) -> str:
    """Return an RGB image ``(H, W, 3)`` as a JPEG of at most about `MOST_BYTES` in a data URI."""
    for quality in QUALITIES:
        data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
