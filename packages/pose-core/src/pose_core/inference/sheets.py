"""Contact sheets of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_core.config import Experiment
from pose_core.data.images import open_image
from pose_core.drawing.sheets import contact_sheet, write_image
from pose_core.engine.interfaces import PosePredictor
from pose_core.errors import DataError
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.reader import read_dataset
from pose_core.plugins.predictors import Predictor
from pose_core.structures import Batch, Person

Array = np.ndarray


def prediction_sheet(
    predictor: Predictor, config: Experiment, target: Path, *, count: int = 18, threshold: float = 0.2
) -> None:
    """Draw poses on the first images of the validation split that have people, predicted from annotated boxes."""
    records = [record for record in read_dataset(config.data, config.data.val).records if record.persons][:count]
    if not records:
        raise DataError(f"the split {config.data.val} has no annotated people to draw predictions on")
    tiles = []
    for record in records:
        image = open_image(record.source, "rgb")
        boxes = np.array([_box(person) for person in record.persons])
        tiles.append(predictor(image, boxes).draw(image, threshold))
    height, width = tiles[0].shape[:2]
    write_image(target, contact_sheet(tiles, columns=6, tile=(256, round(256 * height / width))))


def batch_sheet(predictor: PosePredictor, batch: Batch, target: Path, *, threshold: float = 0.0) -> None:
    """Draw the samples of a training batch, as the network gets them, with the predicted poses."""
    tiles = [poses.draw(image, threshold) for image, poses in predictor.predict_batch(batch)]
    height, width = tiles[0].shape[:2]
    large = not predictor.needs_boxes
    columns, side = (4, 320) if large else (8, 192)
    write_image(target, contact_sheet(tiles, columns=columns, tile=(side, round(side * height / width))))


def _box(person: Person) -> tuple[float, ...]:
    """Return a person's box; if the layout has a center and a scale instead, the box that is padded to them."""
    if person.box is not None or person.center is None or person.scale is None:
        return person.box or (0.0, 0.0, 0.0, 0.0)
    width, height = (PIXEL_STD * value / 1.25 for value in person.scale)
    return person.center[0] - width / 2, person.center[1] - height / 2, width, height
