"""Constant tensors, copied to each device once: a copy in every step would wait for all that the device has to do."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["constant"]


def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``values`` as a tensor on a device; callers share it and must not change it."""
    if torch.compiler.is_compiling():  # part of the graph there
        return torch.tensor(values, device=device, dtype=dtype)
    return _stored(values, device, dtype)


@lru_cache(maxsize=256)
def _stored(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # training may use it too
        return torch.tensor(values, device=device, dtype=dtype)
