"""Three views of each image, predicted: the image, its mirror image, and a smaller one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pose_core.data.images import open_image
from pose_core.engine.interfaces import DetectedImage, PosePredictor
from pose_core.errors import DataError
from pose_core.geometry import box_overlap
from pose_core.structures import ImageRecord, Poses
from pose_core.topdown.detectors import Detector, annotated_box
from pose_core.verbosity import no_bar

_log = logging.getLogger(__name__)

Array = np.ndarray

SMALLER = 1.25
"""The canvas of the smaller view is so many times as wide and high as the image, which lies in its middle."""
APART = 0.3
"""A box of the detector is of somebody else if it overlaps each annotated one less than this."""


def predict_views(
    predictor: PosePredictor, records: Sequence[ImageRecord], detector: Detector | None, *, skips: bool
) -> Iterator[tuple[ImageRecord, tuple[int, int], list[Poses]]]:
    """Yield each image with its size and the poses of its three views, in the image's own pixels.

    Images that do not decode raise a DataError, or with ``skips`` are left out.
    """
    flip = predictor.skeleton.flip_order
    views: list[Poses] = []
    with tqdm(total=len(records), desc="predicting", unit="image", disable=no_bar()) as bar:
        for (number, size, view), poses in predictor.predict_stream(_views(predictor, records, detector, skips)):
            width, height = size
            points, scores = poses.keypoints.astype(np.float64), poses.scores
            if view == "mirrored":
                points = points[:, flip] * [-1, 1] + [width - 1, 0]
                scores = scores[:, flip]
            elif view == "smaller":
                points = points - _margin(width, height)
            views.append(replace(poses, keypoints=points, scores=scores))
            if len(views) == 3:
                yield records[number], size, views
                views = []
                bar.update()


def _views(
    predictor: PosePredictor, records: Sequence[ImageRecord], detector: Detector | None, skips: bool
) -> Iterator[DetectedImage[tuple[int, tuple[int, int], str]]]:
    for number, record in enumerate(records):
        try:
            image = open_image(record.source, "rgb")
        except DataError as error:
            if not skips:
                raise
            _log.warning("skipped: %s", error)
            continue
        height, width = image.shape[:2]
        boxes = _boxes(record, image, detector) if predictor.needs_boxes else np.zeros((0, 4))
        ones = np.ones(len(boxes))
        yield DetectedImage((number, (width, height), "plain"), image, boxes, ones)
        mirrored = boxes.copy()
        mirrored[:, 0] = width - 1 - boxes[:, 0] - boxes[:, 2]
        yield DetectedImage((number, (width, height), "mirrored"), np.ascontiguousarray(image[:, ::-1]), mirrored, ones)
        left, top = _margin(width, height).tolist()
        canvas = cv2.copyMakeBorder(image, top, top, left, left, cv2.BORDER_CONSTANT)
        enlarged = boxes + np.array([left, top, 0, 0])
        enlarged[:, :2] -= (SMALLER - 1) / 2 * boxes[:, 2:]
        enlarged[:, 2:] *= SMALLER
        yield DetectedImage((number, (width, height), "smaller"), canvas, enlarged, ones)


def _margin(width: int, height: int) -> Array:
    """Return the border ``(2,)`` of the smaller view, in pixels on each side."""
    return np.array([round((SMALLER - 1) / 2 * width), round((SMALLER - 1) / 2 * height)])


def _boxes(record: ImageRecord, image: Array, detector: Detector | None) -> Array:
    """Return the boxes ``(N, 4)`` of an image's annotated people, then those that only the detector finds."""
    given = [annotated_box(person) for person in record.persons if not person.is_crowd]
    boxes = np.array([box for box in given if box[2] > 0 and box[3] > 0], np.float64).reshape(-1, 4)
    if detector is None:
        return boxes
    found, _ = detector(image, Path(record.source))
    new = [box for box in np.asarray(found, np.float64).reshape(-1, 4) if not (box_overlap(box, boxes) >= APART).any()]
    return np.concatenate([boxes, np.array(new).reshape(-1, 4)])
