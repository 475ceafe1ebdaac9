"""Mixed precision by the names used in settings."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: str) -> torch.dtype | None:
    """Return the autocast type of ``fp32``, ``bf16`` or ``fp16``; None for full precision."""
    return DTYPES.get(precision)


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which operators compute in ``dtype``; in full precision for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
