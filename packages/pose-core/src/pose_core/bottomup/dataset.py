"""Whole images with all their people, to train a bottom-up network.

The loader yields square uint8 images, all people's joints in the pixels of each output map, and masks of the loss;
normalization and targets are computed per batch, on the device.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch

from pose_core.bottomup.config import WarpConfig
from pose_core.bottomup.ignore_masks import chosen_regions, keep_mask
from pose_core.data.images import Color, open_annotated
from pose_core.data.sampler import Key, epoch_index, sample_rng
from pose_core.data.skipped import SkippedSamples
from pose_core.engine.interfaces import TrainingSet
from pose_core.errors import DataError
from pose_core.geometry import PIXEL_STD, Crop, apply_affine
from pose_core.skeleton import Skeleton
from pose_core.structures import Batch, ImageRecord, Person

Array = np.ndarray
Describe = Callable[[Person], tuple[Array, float]]
"""A person's rows ``(J, 3)`` (x, y, visibility in the image's pixels) and area. J is K, or more where a method adds
points such as a center; these keep their index when left and right are swapped."""
Recolor = Callable[[Array, np.random.Generator], Array]
"""A random color augmentation of an RGB image ``(H, W, 3)`` uint8."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WholeBatch(Batch):
    """A batch of whole images. A single sample has the same fields without the leading N.

    L is the number of output maps, P the maximum number of people in one image; unused rows are zero.
    """

    images: torch.Tensor
    """``(N, S, S, 3)`` uint8, in the configured channel order."""
    joints: torch.Tensor
    """``(N, L, P, J, 3)`` float32: x and y in each output map's pixels, and visibility; unlabeled ones are zero."""
    areas: torch.Tensor
    """``(N, P)`` float32, in input pixels."""
    keep: torch.Tensor
    """``(N, M)`` bool: pixels with a loss; the output maps concatenated, see :func:`keep_maps`."""
    image_id: torch.Tensor
    """``(N,)`` int64."""
    index: torch.Tensor
    """``(N,)`` int64: the sample's index in the data set."""
    valid: torch.Tensor
    """``(N,)`` bool: False if the image could not be read; it is then black, without people and without a loss."""


@dataclass(frozen=True)
class PartlyLabeledBatch(WholeBatch):
    """A batch of whole images from data sets that do not all label every joint."""

    labeled: torch.Tensor
    """``(N, J)`` bool: joints that the image's data set labels. The others are not to be learned as background."""


def labeled_channels(batch: WholeBatch) -> torch.Tensor | None:
    """Return which joints have a loss in each image, ``(N, J)`` bool, or None if all have."""
    return batch.labeled if isinstance(batch, PartlyLabeledBatch) else None


@dataclass(frozen=True, slots=True)
class Warp:
    """One draw of an image's augmentation; ``shift`` in the image's pixels, x and y."""

    scale: float = 1.0
    rotation: float = 0.0
    shift: tuple[int, int] = (0, 0)
    flip: bool = False


def keep_maps(keep: torch.Tensor, sides: Sequence[int]) -> list[torch.Tensor]:
    """Split masks ``(N, M)`` into one ``(N, side, side)`` for each output map."""
    parts = torch.split(keep, [side * side for side in sides], 1)
    return [part.reshape(-1, side, side) for part, side in zip(parts, sides, strict=True)]


def is_learned(record: ImageRecord) -> bool:
    """Return whether an image has an annotation, so that it is trained on."""
    return bool(record.persons or record.ignore)


def labeled_joints(person: Person) -> tuple[Array, float]:
    """Return a person's joints and annotated area."""
    return person.joints, person.area


def draw_warp(rng: np.random.Generator, config: WarpConfig, side: float) -> Warp:
    """Draw the augmentation of an image of which ``side`` pixels fill the input; always the same number of variates."""
    zoom, turn, across, down, mirror = rng.random(5)
    scale = config.scale[0] + zoom * (config.scale[1] - config.scale[0])
    reach = int(config.shift * scale * side / PIXEL_STD)
    return Warp(
        scale=float(scale),
        rotation=float((2 * turn - 1) * config.rotation),
        shift=(int(across * 2 * reach) - reach, int(down * 2 * reach) - reach),
        flip=bool(mirror < config.flip),
    )


def place_warp(warp: Warp, width: int, height: int, fit: str, side: int) -> Crop:
    """Return the map from an image to a square of ``side`` pixels, before mirroring."""
    shown = (min if fit == "short" else max)(width, height) / PIXEL_STD * warp.scale
    center = np.array([width / 2 + warp.shift[0], height / 2 + warp.shift[1]])
    return Crop(center, np.array([shown, shown]), (side, side), warp.rotation)


class BottomUpDataset(TrainingSet[WholeBatch]):
    """Images with all their people, as squares of ``input_size`` with output maps of ``output_sizes``.

    Images without any annotation are skipped, and crowds without joints are not people. Without ``augment`` an image
    only fills the square. Data is kept in flat arrays, which forked workers share.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        skeleton: Skeleton,
        *,
        input_size: int,
        output_sizes: Sequence[int],
        augment: WarpConfig | None = None,
        color: Color = "rgb",
        seed: int = 0,
        on_bad_image: str = "stop",
        max_skipped: float = 1.0,
        describe: Describe = labeled_joints,
        recolor: Recolor | None = None,
    ) -> None:
        self.skeleton, self.input_size, self.output_sizes = skeleton, input_size, tuple(output_sizes)
        self.augment, self.color, self.seed, self.on_bad_image = augment, color, seed, on_bad_image
        self.plain = WarpConfig() if augment is None else augment
        self.recolor = recolor
        kept = [record for record in records if is_learned(record)]
        people = [[describe(p) for p in record.persons if not p.is_crowd or p.num_labeled] for record in kept]
        described = [person for image in people for person in image]
        rows = len(described[0][0]) if described else skeleton.num_joints
        self._joints = np.array([joints for joints, _ in described], np.float32).reshape(-1, rows, 3)
        self._areas = np.array([area for _, area in described], np.float32)
        self._first = np.cumsum([0, *map(len, people)])
        self._sources = np.array([os.fsencode(record.source) for record in kept], dtype=np.bytes_)
        self._image_ids = np.array([record.image_id for record in kept], np.int64)
        self.skipped = SkippedSamples(max_skipped, len(kept))
        regions = (chosen_regions(record.ignore, self.plain.ignore) for record in kept)
        self._regions = {number: json.dumps(found).encode() for number, found in enumerate(regions) if found}
        # Points beyond the joints keep their index.
        self._flip_order = np.array([*skeleton.flip_order, *range(skeleton.num_joints, rows)])

    def __len__(self) -> int:
        return len(self._image_ids)

    @property
    def num_persons(self) -> int:
        """Return the number of people in all images."""
        return len(self._areas)

    def source(self, index: int) -> str:
        """Return the path of a sample's image."""
        return os.fsdecode(bytes(self._sources[index]))

    def variation(self, key: Key, width: int, height: int) -> Warp:
        """Return the augmentation of a sample whose image has this size."""
        if self.augment is None:
            return Warp()
        side = (min if self.augment.fit == "short" else max)(width, height)
        return draw_warp(sample_rng(self.seed, *epoch_index(key)), self.augment, side)

    def __getitem__(self, key: Key) -> WholeBatch:
        _, index = epoch_index(key)
        try:
            image = open_annotated(self.source(index), "bgr", skips=self.on_bad_image == "skip")
            height, width = image.shape[:2]
            warp = self.variation(key, width, height)
            return self._with_labels(index, self._sample(index, image, warp, key), flip=warp.flip)
        except DataError as error:
            if self.on_bad_image != "skip":
                raise
            _log.warning("skipped: %s", error)
            return self._with_labels(index, self._nothing(index), flip=False)

    def to_device(self, batch: WholeBatch, device: torch.device) -> Batch:
        """Return a batch on a device; raise a DataError if too many samples have been skipped."""
        self.skipped.count(len(batch), batch.index.numpy()[~batch.valid.numpy()].tolist(), self.source)
        return super().to_device(batch, device)

    def _sample(self, index: int, image: Array, warp: Warp, key: Key) -> WholeBatch:
        height, width = image.shape[:2]
        crop = place_warp(warp, width, height, self.plain.fit, self.input_size)
        pixels = cv2.warpAffine(image, crop.matrix, crop.size, flags=cv2.INTER_LINEAR)
        if warp.flip:
            pixels = cv2.flip(pixels, 1)
        if self.color == "rgb" or self.recolor is not None:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        if self.recolor is not None:
            # A separate stream: colors do not change the geometric augmentation.
            pixels = self.recolor(pixels, np.random.default_rng((self.seed, *epoch_index(key), 1)))
            if self.color == "bgr":
                pixels = np.ascontiguousarray(pixels[..., ::-1])
        people = slice(self._first[index], self._first[index + 1])
        regions = json.loads(self._regions.get(index, b"[]"))
        keep = keep_mask(regions, width, height, self.source(index))
        levels, masks = [], []
        for side in self.output_sizes:
            to_map = place_warp(warp, width, height, self.plain.fit, side)
            levels.append(self._move(self._joints[people], to_map, warp.flip))
            mask = cv2.warpAffine(keep, to_map.matrix, to_map.size, flags=cv2.INTER_LINEAR) > 127
            masks.append((mask[:, ::-1] if warp.flip else mask).reshape(-1))
        zoom = self.input_size / (float(crop.scale[0]) * PIXEL_STD)
        return WholeBatch(
            images=torch.from_numpy(pixels),
            joints=torch.from_numpy(np.stack(levels)),
            areas=torch.from_numpy(self._areas[people] * np.float32(zoom**2)),
            keep=torch.from_numpy(np.concatenate(masks)),
            image_id=torch.tensor(self._image_ids[index]),
            index=torch.tensor(index),
            valid=torch.tensor(True),
        )

    def _with_labels(self, index: int, sample: WholeBatch, *, flip: bool) -> WholeBatch:
        """Return a sample with the joints that its source labels, if a source lacks any."""
        if self.mixture is None or not self.mixture.is_partial:
            return sample
        labeled = np.ones(len(self._flip_order), bool)  # points beyond the joints are the method's own
        labeled[: self.skeleton.num_joints] = self.mixture.labeled(index)
        if flip:
            labeled = labeled[self._flip_order]
        columns = {each.name: getattr(sample, each.name) for each in fields(sample)}
        return PartlyLabeledBatch(**columns, labeled=torch.from_numpy(labeled))

    def _move(self, joints: Array, crop: Crop, flip: bool) -> Array:
        """Map rows ``(P, J, 3)`` from an image's pixels to those of an output map."""
        moved = np.empty(joints.shape, np.float32)
        moved[..., :2] = apply_affine(crop.matrix, joints[..., :2])
        moved[..., 2] = joints[..., 2]
        if flip:
            moved = moved[:, self._flip_order]
            moved[..., 0] = crop.size[0] - (self.plain.mirror == "pixel") - moved[..., 0]
        moved[moved[..., 2] <= 0] = 0
        return moved

    def _nothing(self, index: int) -> WholeBatch:
        side, maps = self.input_size, self.output_sizes
        return WholeBatch(
            images=torch.zeros(side, side, 3, dtype=torch.uint8),
            joints=torch.zeros(len(maps), 0, *self._joints.shape[1:]),
            areas=torch.zeros(0),
            keep=torch.zeros(sum(size * size for size in maps), dtype=torch.bool),
            image_id=torch.tensor(self._image_ids[index]),
            index=torch.tensor(index),
            valid=torch.tensor(False),
        )

    @staticmethod
    def collate(samples: Sequence[WholeBatch] | WholeBatch) -> WholeBatch:
        """Join samples with different numbers of people in one batch, with room for at least one person."""
        if isinstance(samples, WholeBatch):
            return samples
        most = max(1, *(sample.joints.shape[1] for sample in samples))
        filled = []
        for sample in samples:
            lack = most - sample.joints.shape[1]
            joints = torch.nn.functional.pad(sample.joints, (0, 0, 0, 0, 0, lack))
            areas = torch.nn.functional.pad(sample.areas, (0, lack))
            filled.append(replace(sample, joints=joints, areas=areas))
        return type(filled[0]).stack(filled)
