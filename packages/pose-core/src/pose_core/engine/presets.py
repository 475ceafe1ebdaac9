"""The presets of ``--fast``: settings that speed up training or inference and change nothing else."""

from __future__ import annotations

from typing import Literal

import torch

Work = Literal["training", "inference"]

_PRECISION = ("bf16", "networks compute in bfloat16; weights, optimizer and results stay float32")
_TEST_PRECISION = ("bf16", "and in evaluation; published figures are fp32's: test.precision=fp32")
_ON_ANY_DEVICE: dict[Work, dict[str, tuple[str, str]]] = {
    "training": {"train.channels_last": ("true", "convolutions run in channels-last order")},
    "inference": {},  # batch norm is folded and weights are laid out for the device in any case
}
_ON_A_GPU: dict[Work, dict[str, tuple[str, str]]] = {
    "training": {
        "train.precision": _PRECISION,
        "test.precision": _TEST_PRECISION,
        "train.compile": ("true", "torch.compile fuses the operations between convolutions; the first steps are slow"),
    },
    "inference": {
        "test.precision": ("bf16", "networks compute in bfloat16; weights and results stay float32"),
        "test.compile": ("true", "compiled, and replayed as CUDA graphs; the first batch of each size is slow"),
    },
}


def fast_settings(device: torch.device, work: Work = "training") -> dict[str, tuple[str, str]]:
    """Return the preset's settings for a device: key → value and explanation.

    bfloat16 and compiling only help on a GPU; optimizers are fused on every device without a preset.
    """
    return _ON_ANY_DEVICE[work] | (_ON_A_GPU[work] if device.type == "cuda" else {})
