"""People cropped one by one: what a top-down network trains and is evaluated on.

A sample leaves the loader as a uint8 crop and joints in its pixels; normalising and target making happen per batch, on
the device. One warp takes a decoded image to the crop: scaling, rotating, mirroring and moving are one matrix, and the
same matrix takes the joints.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from pose_core.config import AugmentConfig
from pose_core.data.augment import Augmentation, draw_augmentation, place_crop, sample_rng
from pose_core.data.images import Color, open_bgr
from pose_core.errors import DataError
from pose_core.geometry import Convention, Crop, apply_affine, box_to_center_scale
from pose_core.skeleton import Skeleton
from pose_core.structures import ImageRecord, Person

Key = int | tuple[int, int]
"""A sample's index, or (epoch, index): the epoch changes how the sample is augmented."""

_log = logging.getLogger(__name__)


class CropBatch(NamedTuple):
    """A batch of crops. A single sample has the same fields without the leading N."""

    images: torch.Tensor
    """``(N, H, W, 3)`` uint8, in the configured channel order."""
    joints: torch.Tensor
    """``(N, K, 3)`` float32: x and y in input pixels, weight 0 or 1; a joint of weight 0 is all zero."""
    to_image: torch.Tensor
    """``(N, 2, 3)`` float64: the affine map from input to image pixels."""
    center: torch.Tensor
    """``(N, 2)`` float32, of the crop in the image."""
    scale: torch.Tensor
    """``(N, 2)`` float32, in units of 200 pixels, padding and test scale included."""
    image_id: torch.Tensor
    """``(N,)`` int64."""
    annotation_id: torch.Tensor
    """``(N,)`` int64."""
    box_score: torch.Tensor
    """``(N,)`` float32: 1 for annotated people, the detector's score for detected ones."""
    index: torch.Tensor  # type: ignore[assignment]  # hides tuple.index, for which a batch has no use
    """``(N,)`` int64: the sample's place in the data set."""
    valid: torch.Tensor
    """``(N,)`` bool: False where the image could not be used; the crop is black and no joint has weight."""


class TopDownDataset(Dataset[CropBatch]):
    """The people of ``records``, each as a crop of ``input_size`` (w, h).

    Without ``augment`` the crops are those of evaluation, enlarged by ``test_scale``. People that carry a centre and a
    scale (MPII) are cropped by these; boxes are grown to the input's aspect and padded by 1.25.

    Everything is kept in flat arrays: forked workers share their pages, and a spawned worker unpickles few objects.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        skeleton: Skeleton,
        *,
        input_size: tuple[int, int],
        color: Color = "rgb",
        convention: Convention = "published",
        augment: AugmentConfig | None = None,
        seed: int = 0,
        on_bad_image: str = "stop",
        test_scale: float = 1.0,
    ) -> None:
        self.skeleton, self.input_size = skeleton, input_size
        self.color, self.convention = color, convention
        self.augment, self.seed, self.on_bad_image = augment, seed, on_bad_image
        people = [(number, person) for number, record in enumerate(records) for person in record.persons]
        aspect = input_size[0] / input_size[1]
        places = [_center_scale(person, aspect) for _, person in people]
        self._sources = np.array([os.fsencode(record.source) for record in records], dtype=np.bytes_)
        self._image_ids = np.array([record.image_id for record in records], dtype=np.int64)
        self._image = np.array([number for number, _ in people], dtype=np.int64)
        self._joints = _stack_joints([person.joints for _, person in people], skeleton.num_joints)
        self._center = np.array([center for center, _ in places], dtype=np.float32).reshape(-1, 2)
        self._scale = np.array([scale for _, scale in places], dtype=np.float32).reshape(-1, 2)
        self._annotation_id = np.array([person.annotation_id for _, person in people], dtype=np.int64)
        self._score = np.array([person.score for _, person in people], dtype=np.float32)
        flat = np.flatnonzero((self._scale[:, 0] == 0) | (convention != "published") & (self._scale[:, 1] == 0))
        if len(flat):
            person = int(self._annotation_id[flat[0]])
            raise DataError(f"annotation {person}: its scale is 0, so there is nothing to crop; correct or remove it")
        if augment is None:
            self._scale *= np.float32(test_scale)

    def __len__(self) -> int:
        return len(self._image)

    @property
    def groups(self) -> np.ndarray:
        """``(len,)`` number of each person's image, for batches that share a decode."""
        return self._image

    def source(self, index: int) -> str:
        """Where the image of a sample lies."""
        return os.fsdecode(bytes(self._sources[self._image[index]]))

    def __getitem__(self, key: Key) -> CropBatch:
        epoch, index = _epoch_index(key)
        return self._sample(epoch, index, self._open(index))

    def __getitems__(self, keys: Iterable[Key]) -> list[CropBatch]:
        """The samples of a batch, in order; an image is decoded once for all its people in the batch."""
        pairs = [_epoch_index(key) for key in keys]
        samples: list[CropBatch | None] = [None] * len(pairs)
        by_image: dict[int, list[int]] = {}
        for slot, (_, index) in enumerate(pairs):
            by_image.setdefault(int(self._image[index]), []).append(slot)
        for slots in by_image.values():
            image = self._open(pairs[slots[0]][1])
            for slot in slots:
                samples[slot] = self._sample(*pairs[slot], image)
        return [sample for sample in samples if sample is not None]

    def _open(self, index: int) -> np.ndarray | None:
        try:
            return open_bgr(self.source(index))
        except DataError as error:
            if self.on_bad_image != "skip":
                raise
            _log.warning("skipped: %s", error)
            return None

    def _sample(self, epoch: int, index: int, image: np.ndarray | None) -> CropBatch:
        joints, width = self._joints[index], 0 if image is None else image.shape[1]
        crop = self._crop(epoch, index, width)
        if image is None:
            pixels = np.zeros((self.input_size[1], self.input_size[0], 3), np.uint8)
        else:
            pixels = cv2.warpAffine(image, crop.matrix, self.input_size, flags=cv2.INTER_LINEAR)
            if self.color == "rgb":
                cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
        if crop.mirror_width is not None:
            joints = joints[self.skeleton.flip_order]
        moved = np.empty((len(joints), 3), np.float32)
        moved[:, :2] = apply_affine(crop.matrix, joints[:, :2])
        moved[:, 2] = 1
        moved[(joints[:, 2] <= 0) | (image is None)] = 0
        center = crop.center
        if crop.mirror_width is not None:
            center = np.array([crop.mirror_width - 1 - center[0], center[1]], np.float32)
        return CropBatch(
            images=torch.from_numpy(pixels),
            joints=torch.from_numpy(moved),
            to_image=torch.from_numpy(crop.inverse),
            center=torch.from_numpy(center),
            scale=torch.from_numpy(crop.scale),
            image_id=torch.tensor(self._image_ids[self._image[index]]),
            annotation_id=torch.tensor(self._annotation_id[index]),
            box_score=torch.tensor(self._score[index]),
            index=torch.tensor(index),
            valid=torch.tensor(image is not None),
        )

    def _crop(self, epoch: int, index: int, width: int) -> Crop:
        """The map from the image, ``width`` pixels wide, to the input."""
        center, scale = self._center[index].copy(), self._scale[index].copy()
        drawn = Augmentation()
        if self.augment is not None:
            drawn = draw_augmentation(sample_rng(self.seed, epoch, index), self.augment)
            aspect = self.input_size[0] / self.input_size[1]
            center, scale = place_crop(drawn, self.augment, self._joints[index], center, scale, self.skeleton, aspect)
        if drawn.flip:
            center = np.array([width - 1 - center[0], center[1]], np.float32)
        mirror = width if drawn.flip else None
        return Crop(center, scale, self.input_size, drawn.rotation, mirror, self.convention)


def _epoch_index(key: Key) -> tuple[int, int]:
    return key if isinstance(key, tuple) else (0, key)


def _center_scale(person: Person, aspect: float) -> tuple[object, object]:
    if person.center is not None and person.scale is not None:
        return person.center, person.scale
    if person.box is None:
        raise DataError(f"annotation {person.annotation_id} has neither a box nor a centre and a scale to crop by")
    return box_to_center_scale(person.box, aspect)


def _stack_joints(joints: list[np.ndarray], count: int) -> np.ndarray:
    """``(P, K, 3)`` float32; detected people have no joints, which become zeros."""
    stacked = np.zeros((len(joints), count, 3), np.float32)
    for row, one in enumerate(joints):
        if len(one):
            stacked[row] = one
    return stacked
