"""Batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch


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

    def sample(self, number: int) -> Self:
        """Return one of the samples."""
        return replace(
            self,
            **{
                name: value.sample(number) if isinstance(value, Batch) else value[number]
                for name, value in self._columns()
            },
        )

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
