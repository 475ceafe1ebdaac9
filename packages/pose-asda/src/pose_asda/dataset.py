"""Crops of people, and the parts to paste on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch.utils.data import default_collate

from pose_asda.parts import DrawnParts, PartSampler
from pose_core.data.sampler import Key, epoch_index
from pose_core.engine.interfaces import TrainingSet
from pose_core.structures import Batch
from pose_core.topdown.dataset import CropBatch, TopDownDataset


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

    def split(self, parts: int) -> Iterator[PartBatch]:
        """Yield the batch in ``parts`` equal parts, each crop with the pixels of its own parts."""
        left, top, right, bottom = self.part_boxes.unbind(-1)
        sizes = ((right - left) * (bottom - top)).sum(1)
        packed = [sum(chunk.tolist()) for chunk in sizes.chunk(parts)]
        pixels, masks = torch.split(self.part_pixels, packed), torch.split(self.part_masks, packed)
        placeholder = torch.zeros(len(self))
        even = replace(self, part_pixels=placeholder, part_masks=placeholder)
        for number, part in enumerate(super(PartBatch, even).split(parts)):
            yield replace(part, part_pixels=pixels[number], part_masks=masks[number])


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
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Iterable[Key]) -> list[PartBatch]:
        keys = list(keys)
        crops = self.people.__getitems__(keys)
        # One step for all samples, then the next, so that the code stays in the processor's caches.
        zooms = [self._zoom(key, crop) for key, crop in zip(keys, crops, strict=True)]
        parts = [self._draw(key, zoom) for key, zoom in zip(keys, zooms, strict=True)]
        return [
            PartBatch(*(getattr(crop, each.name) for each in fields(crop)), *map(torch.from_numpy, drawn))
            for crop, drawn in zip(crops, parts, strict=True)
        ]

    def _zoom(self, key: Key, crop: CropBatch) -> float | None:
        """Return the factor by which a crop is enlarged around its person; None where it gets no parts."""
        drawn, is_half = self.people.variation(key)
        few = self.min_joints > 0 and int((crop.joints[:, 2] > 0).sum()) < self.min_joints
        return None if (is_half and not self.with_half_body) or few or not crop.valid else drawn.scale

    def _draw(self, key: Key, zoom: float | None) -> DrawnParts:
        if zoom is None:
            return self.sampler.empty()
        # A random generator of its own, so that a crop is the same with parts and without.
        rng = np.random.default_rng((self.people.seed, *epoch_index(key), 1))
        return self.sampler.draw(rng, zoom)
