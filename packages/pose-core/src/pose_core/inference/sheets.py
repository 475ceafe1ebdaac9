"""What a network sees: contact sheets of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_core.bottomup.dataset import WholeBatch
from pose_core.config import Experiment
from pose_core.data.images import open_image
from pose_core.drawing.sheets import contact_sheet, write_image
from pose_core.drawing.skeletons import draw_poses
from pose_core.errors import DataError
from pose_core.geometry import PIXEL_STD
from pose_core.layouts.reader import read_dataset
from pose_core.structures import Person, Poses
from pose_core.topdown.crops import predict_crops
from pose_core.topdown.dataset import CropBatch
from pose_core.topdown.predictor import Predictor

Array = np.ndarray


def prediction_sheet(
    predictor: Predictor, config: Experiment, target: Path, *, count: int = 18, threshold: float = 0.2
) -> None:
    """Poses on the first images of the validation split that have people, from their annotated boxes."""
    records = [record for record in read_dataset(config.data, config.data.val).records if record.persons][:count]
    if not records:
        raise DataError(f"the split {config.data.val} has no annotated people to draw predictions on")
    tiles = []
    for record in records:
        image = open_image(record.source, "rgb")
        boxes = np.array([_box(person) for person in record.persons])
        tiles.append(draw_poses(image, predictor(image, boxes), threshold))
    height, width = tiles[0].shape[:2]
    write_image(target, contact_sheet(tiles, columns=6, tile=(256, round(256 * height / width))))


def crop_sheet(predictor: Predictor, batch: CropBatch, target: Path, *, threshold: float = 0.0) -> None:
    """Poses on the crops of a batch, as the network sees them."""
    crops = batch.images.cpu().numpy()
    if predictor.config.data.color == "bgr":
        crops = crops[..., ::-1]
    identity = np.broadcast_to(np.eye(2, 3), (len(crops), 2, 3))
    found = predict_crops(predictor.network, batch.images, identity, predictor.settings)
    tiles = [
        draw_poses(
            np.ascontiguousarray(crop),
            Poses(points[None, :, :2], points[None, :, 2], np.ones(1), predictor.skeleton),
            threshold,
        )
        for crop, points in zip(crops, found, strict=True)
    ]
    height, width = crops.shape[1:3]
    write_image(target, contact_sheet(tiles, columns=8, tile=(192, round(192 * height / width))))


def whole_sheet(predictor: Predictor, batch: WholeBatch, target: Path, *, threshold: float = 0.0) -> None:
    """Poses on the whole images of a batch."""
    images = batch.images.cpu().numpy()
    if predictor.config.data.color == "bgr":
        images = images[..., ::-1]
    pictures = [np.ascontiguousarray(image) for image in images]
    tiles = [draw_poses(picture, predictor(picture), threshold) for picture in pictures]
    write_image(target, contact_sheet(tiles, columns=4, tile=(320, 320)))


def _box(person: Person) -> tuple[float, ...]:
    """A person's box; where the layout has a centre and a scale instead, the box that is padded to them."""
    if person.box is not None or person.center is None or person.scale is None:
        return person.box or (0.0, 0.0, 0.0, 0.0)
    width, height = (PIXEL_STD * value / 1.25 for value in person.scale)
    return person.center[0] - width / 2, person.center[1] - height / 2, width, height
