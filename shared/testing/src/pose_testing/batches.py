"""Compare batches column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from pose_core.structures import Batch


def columns(batch: Batch) -> list[Tensor]:
    """Return the tensors of a batch in the order of its fields."""
    return [getattr(batch, each.name) for each in fields(batch)]


def equal_batches(first: Batch, second: Batch, *, without: Sequence[str] = ()) -> bool:
    """Return whether all columns except ``without`` are equal."""
    names = [each.name for each in fields(first) if each.name not in without]
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)
