"""Crops of one person each, to train and evaluate a top-down network.

The loader yields uint8 crops and joints in their pixels; normalization and targets are computed per batch, on the
device. One warp maps a decoded image to the crop: scaling, rotation, mirroring and translation are one matrix, which
also maps the joints.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from pose_core.data.images import Color, decode_bgr, jpeg_size, read_annotated
from pose_core.data.sampler import Key, epoch_index, sample_rng
from pose_core.data.skipped import SkippedSamples
from pose_core.engine.interfaces import TrainingSet
from pose_core.errors import DataError
from pose_core.geometry import Convention, Crop, apply_affines, invert_affine
from pose_core.skeleton import Skeleton
from pose_core.structures import Batch, ImageRecord
from pose_core.topdown.augment import Augmentation, draw_augmentation, place_crop
from pose_core.topdown.config import AugmentConfig
from pose_core.topdown.person_table import PersonTable, tabulate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CropBatch(Batch):
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
    index: torch.Tensor
    """``(N,)`` int64: the sample's index in the data set."""
    valid: torch.Tensor
    """``(N,)`` bool: False if the image could not be read; the crop is then black and all weights are 0."""


class DecodedImage(NamedTuple):
    """A decoded image."""

    pixels: np.ndarray
    """``(h, w, 3)`` uint8 BGR."""
    width: int
    """Width of the original image; ``pixels`` may be reduced."""
    reduced: int = 1
    """Original pixels per decoded pixel, along each axis."""


class Place(NamedTuple):
    """Where a crop is in its image; ``center`` is given before mirroring."""

    center: np.ndarray
    """``(2,)`` float32."""
    scale: np.ndarray
    """``(2,)`` float32, in units of 200 pixels."""
    rotation: float = 0.0
    """In degrees."""
    flip: bool = False
    zoom: float = 1.0
    """The factor by which augmentation has enlarged the crop; part of ``scale``."""
    is_half: bool = False
    """Whether augmentation has chosen half of the body."""


class TopDownDataset(TrainingSet[CropBatch]):
    """Crops of ``input_size`` (w, h) of people, given as records or as a table for the input's aspect.

    Without ``augment`` the crops are those of evaluation, enlarged by ``test_scale``. People with a center and a scale
    (MPII) are cropped by these; boxes are extended to the input's aspect and padded by 1.25. With
    ``reduced_decode``, a JPEG that a crop downsamples by 2 or more is decoded at a half, a quarter or an eighth of its
    size.

    Everything is kept in flat arrays: forked workers share their pages, and a spawned worker unpickles few objects.
    """

    def __init__(
        self,
        people: Sequence[ImageRecord] | PersonTable,
        skeleton: Skeleton,
        *,
        input_size: tuple[int, int],
        color: Color = "rgb",
        convention: Convention = "published",
        augment: AugmentConfig | None = None,
        seed: int = 0,
        on_bad_image: str = "stop",
        max_skipped: float = 1.0,
        test_scale: float = 1.0,
        reduced_decode: bool = False,
    ) -> None:
        self.skeleton, self.input_size = skeleton, input_size
        self.color, self.convention = color, convention
        self.augment, self.seed, self.on_bad_image = augment, seed, on_bad_image
        self.reduced_decode = reduced_decode
        if not isinstance(people, PersonTable):
            people = tabulate(people, skeleton.num_joints, input_size[0] / input_size[1])
        self.table = people
        self.skipped = SkippedSamples(max_skipped, len(people.image))
        self._scale = people.scale
        flat = np.flatnonzero((self._scale[:, 0] == 0) | (convention != "published") & (self._scale[:, 1] == 0))
        if len(flat):
            person = int(people.annotation_id[flat[0]])
            raise DataError(f"annotation {person}: its scale is 0, so there is nothing to crop; correct or remove it")
        if augment is None:
            self._scale = self._scale * np.float32(test_scale)

    def __len__(self) -> int:
        return len(self.table.image)

    @property
    def groups(self) -> np.ndarray:
        """Return the number ``(len,)`` of each person's image, for batches that share a decoded image."""
        return self.table.image

    def source(self, index: int) -> str:
        """Return the path of a sample's image."""
        return os.fsdecode(bytes(self.table.sources[self.table.image[index]]))

    def draw(self, epoch: int, index: int) -> Augmentation:
        """Draw the augmentation of a sample in an epoch; only for data with ``augment``."""
        assert self.augment is not None
        return draw_augmentation(sample_rng(self.seed, epoch, index), self.augment)

    def __getitem__(self, key: Key) -> CropBatch:
        return self.__getitems__([key]).sample(0)

    def __getitems__(self, keys: Iterable[Key]) -> CropBatch:
        """Return the samples of a batch, in order; an image is decoded once for all its people in the batch.

        Everything but the pixels is computed for the batch at once: a few lines of Python between two images, which
        fill the caches, take several times as long as the same lines in a loop of their own.
        """
        pairs = [epoch_index(key) for key in keys]
        return self.load(pairs, [self.place(*pair) for pair in pairs])

    def load(self, pairs: Sequence[tuple[int, int]], places: Sequence[Place]) -> CropBatch:
        """Return the samples of pairs of epoch and index, given the places of their crops."""
        indices = np.array([index for _, index in pairs], np.int64)
        by_image: dict[int, list[int]] = {}
        for slot, row in enumerate(self.table.image[indices].tolist()):
            by_image.setdefault(row, []).append(slot)
        width, height = self.input_size
        pixels = np.zeros((len(pairs), height, width, 3), np.uint8)
        crops: list[Crop | None] = [None] * len(pairs)
        valid = np.ones(len(pairs), bool)
        for slots in by_image.values():
            image = self._open(int(indices[slots[0]]), [places[slot] for slot in slots])
            valid[slots] = image is not None
            for slot in slots:
                crops[slot] = crop = self.crop_at(places[slot], 0 if image is None else image.width)
                if image is not None:
                    self._cut(image, crop, pixels[slot])
        return self.describe(indices, [crop for crop in crops if crop is not None], torch.from_numpy(pixels), valid)

    def to_device(self, batch: CropBatch, device: torch.device) -> Batch:
        """Return a batch on a device; raise a DataError if too many samples have been skipped."""
        self.count(batch.index, batch.valid)
        return super().to_device(batch, device)

    def count(self, index: torch.Tensor, valid: torch.Tensor) -> None:
        """Count the samples of a batch from the loader; raise a DataError if too many have been skipped."""
        self.skipped.count(len(index), index.numpy()[~valid.numpy()].tolist(), self.source)

    def place(self, epoch: int, index: int) -> Place:
        """Return where a sample's crop is in its image."""
        center, scale = self.table.center[index], self._scale[index]
        if self.augment is None:
            return Place(center, scale)
        drawn = self.draw(epoch, index)
        aspect = self.input_size[0] / self.input_size[1]
        center, scale, is_half = place_crop(
            drawn, self.augment, self.table.joints[index], center, scale, self.skeleton, aspect
        )
        return Place(center, scale, drawn.rotation, drawn.flip, drawn.scale, is_half)

    def crop_at(self, place: Place, width: int) -> Crop:
        """Return the map from an image, ``width`` pixels wide, to the input."""
        if not place.flip:
            return Crop(place.center, place.scale, self.input_size, place.rotation, None, self.convention)
        center = np.array([width - 1 - place.center[0], place.center[1]], np.float32)
        return Crop(center, place.scale, self.input_size, place.rotation, width, self.convention)

    def crop(self, epoch: int, index: int, width: int) -> Crop:
        """Return the map from a sample's image, ``width`` pixels wide, to the input."""
        return self.crop_at(self.place(epoch, index), width)

    def describe(
        self, indices: np.ndarray, crops: Sequence[Crop], images: torch.Tensor, valid: np.ndarray
    ) -> CropBatch:
        """Return the batch of the samples ``indices`` ``(N,)``, given their crops and pixels, which may be empty."""
        table, rows = self.table, self.table.image[indices]
        matrices = np.stack([crop.matrix for crop in crops])
        mirrored = np.array([crop.mirror_width is not None for crop in crops])
        center = np.stack([crop.center for crop in crops])
        center[mirrored, 0] = [
            crop.mirror_width - 1 - crop.center[0] for crop in crops if crop.mirror_width is not None
        ]
        joints = table.joints[indices]
        joints[mirrored] = joints[mirrored][:, self.skeleton.flip_order]
        moved = np.ones_like(joints)
        moved[..., :2] = apply_affines(matrices, joints[..., :2])
        moved[(joints[..., 2] <= 0) | ~valid[:, None]] = 0
        return CropBatch(
            images=images,
            joints=torch.from_numpy(moved),
            to_image=torch.from_numpy(invert_affine(matrices)),
            center=torch.from_numpy(center),
            scale=torch.from_numpy(np.stack([crop.scale for crop in crops])),
            image_id=torch.from_numpy(table.image_ids[rows]),
            annotation_id=torch.from_numpy(table.annotation_id[indices]),
            box_score=torch.from_numpy(table.score[indices]),
            index=torch.from_numpy(indices),
            valid=torch.from_numpy(valid),
        )

    def _open(self, index: int, places: Sequence[Place]) -> DecodedImage | None:
        """Return the image of a sample, as large as the largest resolution among these crops of it needs."""
        source = self.source(index)
        try:
            content = read_annotated(source, skips=self.on_bad_image == "skip")
            size = jpeg_size(content) if self.reduced_decode else None
            if size is None:
                pixels = decode_bgr(content, source)
                return DecodedImage(pixels, pixels.shape[1])
            shown = min(self.crop_at(place, size[0]).pixels_shown for place in places)
            reduced = max(part for part in (1, 2, 4, 8) if part <= max(shown, 1))
            return DecodedImage(decode_bgr(content, source, reduced), size[0], reduced)
        except DataError as error:
            if self.on_bad_image != "skip":
                raise
            _log.warning("skipped: %s", error)
            return None

    def _cut(self, image: DecodedImage, crop: Crop, pixels: np.ndarray) -> None:
        """Write a crop of an image to ``pixels`` ``(H, W, 3)``."""
        matrix = crop.matrix if image.reduced == 1 else crop.matrix @ magnified(image.reduced)
        cv2.warpAffine(image.pixels, matrix, self.input_size, dst=pixels, flags=cv2.INTER_LINEAR)
        if self.color == "rgb":
            cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def magnified(reduced: int) -> np.ndarray:
    """Return the ``(3, 3)`` map from a reduced image's pixels to the original's; coordinates are pixel centers."""
    middle = (reduced - 1) / 2
    return np.array([[reduced, 0, middle], [0, reduced, middle], [0, 0, 1]])
