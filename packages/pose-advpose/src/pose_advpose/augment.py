"""Augmentation of training samples: crops of one person, and the colors of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch

from pose_advpose.config import ColorConfig, CropAugmentConfig
from pose_core.data.sampler import sample_rng
from pose_core.geometry import Crop
from pose_core.topdown.augment import Augmentation
from pose_core.topdown.dataset import CropBatch, Place, TopDownDataset

Array = np.ndarray
COLOR_STREAM = 1
"""Colors have a random stream of their own, so that they do not change the random numbers of the geometry."""


@dataclass(frozen=True)
class PartlyLabeledCrops(CropBatch):
    """A batch of crops from data sets that do not all label every joint."""

    labeled: torch.Tensor
    """``(N, K)`` bool: joints that the person's data set labels. The others are not to be learned as background."""


class CropDataset(TopDownDataset):
    """Crops augmented as published for one person: scale, rotation, colors, and mirroring about the edge.

    Colors are changed on the crop, not on the whole image: equal up to rounding, and many times faster.
    """

    augment: CropAugmentConfig | None

    def draw(self, epoch: int, index: int) -> Augmentation:
        assert self.augment is not None
        drawn = super().draw(epoch, index)  # half body and mirroring
        rng = sample_rng(self.seed, epoch, index)
        _, turn, _ = rng.random(3)
        _, zoom, angle = rng.standard_normal(3)
        return replace(
            drawn, scale=draw_scale(zoom, self.augment), rotation=draw_rotation(float(turn), angle, self.augment)
        )

    def crop_at(self, place: Place, width: int) -> Crop:
        crop = super().crop_at(place, width)
        if crop.mirror_width is None or self.augment is None or self.augment.mirror == "pixel":
            return crop
        # As published, mirroring moves pixels to w − 1 − x, but the center to w − x.
        return replace(crop, center=crop.center + np.array([1, 0], crop.center.dtype))

    def load(self, pairs: Sequence[tuple[int, int]], places: Sequence[Place]) -> CropBatch:
        batch = super().load(pairs, places)
        if self.augment is None:
            return batch
        flips = np.array([place.flip for place in places])
        if self.augment.mirror == "edge" and flips.any():
            # Joints move to w − x as well: one pixel further along the mirrored image's x axis.
            along = np.linalg.inv(batch.to_image.numpy()[flips, :, :2])[:, None, :, 0]
            # The matrix includes the mirroring, so its x axis has the opposite direction.
            joints = batch.joints.numpy()
            joints[flips, :, :2] -= along.astype(joints.dtype) * (joints[flips, :, 2:] > 0)
        if self.augment.color:
            for (epoch, index), pixels in zip(pairs, batch.images.numpy(), strict=True):
                rng = np.random.default_rng((self.seed, epoch, index, COLOR_STREAM))
                gains = rng.uniform(1 - self.augment.color, 1 + self.augment.color, 3)
                pixels[:] = np.rint(pixels * gains).clip(0, 255)
        if self.mixture is None or not self.mixture.is_partial:
            return batch
        labeled = np.stack([self.mixture.labeled(index) for _, index in pairs])
        labeled[flips] = labeled[flips][:, self.skeleton.flip_order]
        columns = {each.name: getattr(batch, each.name) for each in fields(batch)}
        return PartlyLabeledCrops(**columns, labeled=torch.from_numpy(labeled))


def draw_scale(variate: float, config: CropAugmentConfig) -> float:
    """Return the factor on a crop's extent for a standard normal variate."""
    spread = config.scale
    if config.scale_law == "power":
        return float(2 ** np.clip(variate * spread, -2 * spread, 2 * spread))
    return float(np.clip(1 + variate * spread, 1 - spread, 1 + spread))


def draw_rotation(coin: float, variate: float, config: CropAugmentConfig) -> float:
    """Return a rotation in degrees for a uniform and a standard normal variate."""
    if coin >= config.rotation_probability:
        return 0.0
    limit = 2 * config.rotation if config.rotation_limit is None else config.rotation_limit
    return float(np.clip(variate * config.rotation, -limit, limit))


def recolor(image: Array, rng: np.random.Generator, config: ColorConfig) -> Array:
    """Change hue, saturation, brightness and contrast of an RGB image ``(H, W, 3)`` uint8.

    As published, contrast scales the distance from each pixel's own gray, and so acts like saturation.
    """
    hue, saturation, brightness, contrast = rng.uniform(-1, 1, 4)
    pixels = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    pixels[..., 0] = (pixels[..., 0] + hue * config.hue * 360) % 360
    pixels[..., 1] = (pixels[..., 1] * (1 + saturation * config.saturation)).clip(0, 1)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB) + np.float32(brightness * config.brightness)
    gray = pixels.mean(2, keepdims=True)
    pixels = (pixels - gray) * np.float32(1 + contrast * config.contrast) + gray
    return np.rint(pixels * 255).clip(0, 255).astype(np.uint8)
