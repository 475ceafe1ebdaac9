"""How a device computes: mixed precision by the names used in settings, and the choice of algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from pose_core.errors import ConfigError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(precision: str) -> torch.dtype | None:
    """Return the autocast type of ``fp32``, ``bf16`` or ``fp16``; None for full precision."""
    return DTYPES.get(precision)


def inference_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of ``test.precision``, see `dtype_of`; raise a ConfigError for fp16 on a CPU."""
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError(
            "test.precision=fp16 needs a GPU: on a CPU it is tens of times slower than fp32; use bf16 or fp32"
        )
    return dtype_of(precision)


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which operators compute in ``dtype``; in full precision for None."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def fixed_sizes(device: torch.device) -> Iterator[None]:
    """Let cuDNN find its fastest algorithms by measurement, in a block where a layer's inputs keep their size."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = before or (device.type == "cuda" and not cudnn.deterministic)
    try:
        yield
    finally:
        cudnn.benchmark = before
