"""Plain data: annotated people and images, predicted poses, and batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pose_core.skeleton import Skeleton

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "ImageRecord", "Person", "Poses"]

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Person:
    """One annotated (or detected) person, in pixels of the original image, 0-based.

    ``joints`` is ``(K, 3)`` float32: x, y, and COCO's visibility (0 not labeled, 1 labeled but hidden, 2 visible).
    ``box`` is ``(x, y, w, h)``, clipped to the image; ``stated_box`` is the box in the file. Layouts that annotate a
    center and a scale instead of a box (MPII, LSP) set ``center`` ``(2,)`` and ``scale`` ``(2,)``, the latter in units
    of 200 pixels with the layout's padding included. ``category_id`` is COCO's; result entries carry it.
    """

    joints: Array
    annotation_id: int
    box: tuple[float, float, float, float] | None = None
    area: float = 0.0
    center: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    head_box: tuple[float, float, float, float] | None = None
    is_crowd: bool = False
    score: float = 1.0
    stated_box: tuple[float, float, float, float] | None = None
    category_id: int = 1

    @property
    def num_labeled(self) -> int:
        """The number of labeled joints."""
        return int((self.joints[:, 2] > 0).sum())


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image of a data set. ``source`` names its bytes: a path, or ``archive.zip@member``.

    ``width`` and ``height`` are 0 if the annotation file has neither. ``ignore`` holds COCO segmentations (polygons or
    run lengths) of regions that a bottom-up method must not train on: crowds and unlabeled people.
    """

    image_id: int
    source: str
    persons: tuple[Person, ...] = ()
    width: int = 0
    height: int = 0
    ignore: tuple[Any, ...] = ()
    crowd_index: float | None = None


@dataclass(frozen=True)
class Poses:
    """The poses found in one image, in its pixels.

    ``keypoints`` is ``(N, K, 2)``, ``scores`` ``(N, K)`` per joint, ``pose_scores`` ``(N,)``,
    ``boxes`` ``(N, 4)`` as x, y, w, h for methods that work from boxes.
    """

    keypoints: Array
    scores: Array
    pose_scores: Array
    skeleton: Skeleton
    boxes: Array | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    def __iter__(self) -> Iterator[Poses]:
        return (self[[i]] for i in range(len(self)))

    def __getitem__(self, rows: slice | Array | Sequence[int]) -> Poses:
        """Return the poses at ``rows`` (a slice, a mask, or a list of indices)."""
        return replace(
            self,
            keypoints=self.keypoints[rows],
            scores=self.scores[rows],
            pose_scores=self.pose_scores[rows],
            boxes=None if self.boxes is None else self.boxes[rows],
        )

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO result entries, one per pose, with keypoints as x, y, score triples."""
        triples = np.concatenate([self.keypoints, self.scores[..., None]], -1).reshape(
            len(self), 3 * self.scores.shape[1]
        )
        return [
            {
                "image_id": int(image_id),
                "category_id": category_id,
                "keypoints": [float(value) for value in row],
                "score": float(score),
            }
            for row, score in zip(triples, self.pose_scores, strict=True)
        ]

    def draw(self, image: Array, threshold: float = 0.2, style: str = "side") -> Array:
        """Return a copy of ``image`` ``(H, W, 3)`` RGB uint8 with the joints that score at least ``threshold``.

        Limbs are drawn between them. ``style`` selects the colors: see `pose_core.drawing.skeletons.palette`.
        """
        from pose_core.drawing.skeletons import draw_poses  # drawing needs OpenCV, plain data does not

        return draw_poses(image, self.keypoints, self.scores, self.skeleton, threshold, style)


@dataclass(frozen=True)
class Batch:
    """A batch of samples: each field is a tensor, or another batch, whose first dimension is the sample.

    A single sample has the same class, without that dimension.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def to(self, device: torch.device, *, non_blocking: bool = True) -> Self:
        """Return the batch on a device."""
        return replace(self, **{name: value.to(device, non_blocking=non_blocking) for name, value in self._columns()})

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory, from which copies to a GPU are asynchronous."""
        return replace(self, **{name: value.pin_memory() for name, value in self._columns()})

    def split(self, parts: int) -> Iterator[Self]:
        """Yield the batch in ``parts`` equal parts."""
        if len(self) % parts:
            raise ValueError(f"a batch of {len(self)} samples cannot be split into {parts} equal parts")
        columns = {name: value.chunk(parts) for name, value in self._columns()}
        for number in range(parts):
            yield replace(self, **{name: chunks[number] for name, chunks in columns.items()})

    @classmethod
    def stack(cls, samples: Sequence[Self]) -> Self:
        """Stack samples of equal shapes to a batch; a loader's worker process puts it in shared memory."""
        from torch.utils.data import default_collate  # plain data must not load torch

        return cls(**{each.name: default_collate([getattr(s, each.name) for s in samples]) for each in fields(cls)})

    def _columns(self) -> Iterator[tuple[str, Any]]:
        return ((each.name, getattr(self, each.name)) for each in fields(self))
