"""Crops of people, and the parts to paste on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch.utils.data import default_collate

from pose_asda.parts import PartSampler, Placed
from pose_core.data.sampler import Key, epoch_index
from pose_core.engine.interfaces import TrainingSet
from pose_core.structures import Batch
from pose_core.topdown.dataset import CropBatch, Place, TopDownDataset


@dataclass(frozen=True)
class PartBatch(CropBatch):
    """A batch of crops, and the parts to paste on them."""

    part_pixels: torch.Tensor
    """``(P, 3)`` uint8, in the crops' channel order: the pixels of all parts, row by row, concatenated."""
    part_masks: torch.Tensor
    """``(P,)`` float32, soft."""
    part_boxes: torch.Tensor
    """``(N, S, 4)`` int32: the box of each part on its canvas; left, top, right, bottom."""
    part_types: torch.Tensor
    """``(N, S)`` int64; −1 where a slot is empty."""

    @classmethod
    def stack(cls, samples: Sequence[PartBatch]) -> PartBatch:
        """Return samples as one batch; pixels and masks of their parts are concatenated."""
        columns = {each.name: [getattr(sample, each.name) for sample in samples] for each in fields(cls)}
        packed = {name: torch.cat(columns.pop(name)) for name in ("part_pixels", "part_masks")}
        # In a worker, default_collate stacks into shared memory, which saves a copy of the crops.
        return cls(**packed, **{name: default_collate(column) for name, column in columns.items()})

    def sample(self, number: int) -> PartBatch:
        """Return one of the samples, with the pixels of its own parts."""
        sizes = self._sizes()
        own = slice(int(sizes[:number].sum()), int(sizes[: number + 1].sum()))
        one = super(PartBatch, self._without_pixels()).sample(number)
        return replace(one, part_pixels=self.part_pixels[own], part_masks=self.part_masks[own])

    def split(self, parts: int) -> Iterator[PartBatch]:
        """Yield the batch in ``parts`` equal parts, each crop with the pixels of its own parts."""
        packed = [sum(chunk.tolist()) for chunk in self._sizes().chunk(parts)]
        pixels, masks = torch.split(self.part_pixels, packed), torch.split(self.part_masks, packed)
        for number, part in enumerate(super(PartBatch, self._without_pixels()).split(parts)):
            yield replace(part, part_pixels=pixels[number], part_masks=masks[number])

    def _without_pixels(self) -> PartBatch:
        """Return the batch with a number for each crop in place of its parts' pixels, as other columns have."""
        return replace(self, part_pixels=torch.zeros(len(self)), part_masks=torch.zeros(len(self)))

    def _sizes(self) -> torch.Tensor:
        """Return the number of pixels of each crop's parts, ``(N,)``."""
        left, top, right, bottom = self.part_boxes.unbind(-1)
        return ((right - left) * (bottom - top)).sum(1)


class PartedDataset(TrainingSet[PartBatch]):
    """The samples of ``people``, each with parts drawn from (seed, epoch, index), like its augmentation.

    Half-body crops get parts only with ``with_half_body``, and people only with at least ``min_joints`` labeled joints.
    Joints, and thus targets, do not change.
    """

    def __init__(
        self, people: TopDownDataset, sampler: PartSampler, *, with_half_body: bool = True, min_joints: int = 0
    ) -> None:
        self.people, self.sampler, self.mixture = people, sampler, people.mixture
        self.with_half_body, self.min_joints = with_half_body, min_joints

    def __len__(self) -> int:
        return len(self.people)

    @property
    def groups(self) -> np.ndarray:
        """The number ``(len,)`` of each person's image."""
        return self.people.groups

    def to_device(self, batch: PartBatch, device: torch.device) -> Batch:
        """Return a batch on a device; raise a DataError if too many samples have been skipped."""
        self.people.count(batch.index, batch.valid)
        return super().to_device(batch, device)

    def __getitem__(self, key: Key) -> PartBatch:
        return self.__getitems__([key]).sample(0)

    def __getitems__(self, keys: Iterable[Key]) -> PartBatch:
        pairs = [epoch_index(key) for key in keys]
        places = [self.people.place(*pair) for pair in pairs]
        crops = self.people.load(pairs, places)
        usable = crops.valid & ((crops.joints[..., 2] > 0).sum(1) >= self.min_joints)
        samples = zip(pairs, places, usable.tolist(), strict=True)
        parts = self.sampler.join([self._draw(pair, place) if use else [] for pair, place, use in samples])
        return PartBatch(
            **{each.name: getattr(crops, each.name) for each in fields(crops)},
            part_pixels=torch.from_numpy(parts.pixels),
            part_masks=torch.from_numpy(parts.masks),
            part_boxes=torch.from_numpy(parts.boxes),
            part_types=torch.from_numpy(parts.types),
        )

    def _draw(self, pair: tuple[int, int], place: Place) -> list[Placed]:
        if place.is_half and not self.with_half_body:
            return []
        # A random generator of its own, so that a crop is the same with parts and without.
        rng = np.random.default_rng((self.people.seed, *pair, 1))
        return self.sampler.draw_each(rng, place.zoom)
