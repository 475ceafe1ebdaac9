"""A small Triton kernel, to find out whether any can be compiled and run here."""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl


@triton.jit
def _double(values, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    tl.store(values + index, tl.load(values + index) * 2)


def run() -> None:
    """Double 16 numbers on the current GPU, or in Triton's interpreter; raise an exception if that fails."""
    device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    values = torch.ones(16, device=device)
    _double[(1,)](values, BLOCK=16)
    if values.tolist() != [2.0] * 16:
        raise RuntimeError(f"a kernel that doubles ones returned {values.tolist()}")
