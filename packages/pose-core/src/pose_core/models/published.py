"""Checkpoints that published code loads: state dicts in its names, bare or under keys, with or without a prefix."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pose_core.files import whole_file

State = Mapping[str, Tensor]
Content = Mapping[str, Tensor | State]
"""A state dict, or several by key."""


def data_parallel(state: State, prefix: str = "module.") -> dict[str, Tensor]:
    """Return a state dict with the prefix of data-parallel training before each name."""
    return {f"{prefix}{key}": value for key, value in state.items()}


def save_published(content: Content, path: str | Path) -> None:
    """Write a checkpoint atomically: float32 on the CPU, in PyTorch's old format, which every version reads."""
    with whole_file(path) as file:
        torch.save(_plain(content), file, _use_new_zipfile_serialization=False)


def _plain(content: Content) -> OrderedDict[str, object]:
    return OrderedDict(
        (key, _plain(value) if isinstance(value, Mapping) else _single(value)) for key, value in content.items()
    )


def _single(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float32 if value.is_floating_point() else value.dtype)
