"""The preset behind ``--fast``: what makes a training quick without changing what it learns from."""

from __future__ import annotations

import torch

_ON_ANY_DEVICE = {"train.channels_last": ("true", "convolutions run in channels-last order")}
_ON_A_GPU = {
    "train.precision": ("bf16", "forward and backward reckon in bfloat16; weights and optimiser stay float32"),
    "train.compile": ("true", "torch.compile fuses what lies between convolutions; the first steps are slow"),
}


def fast_settings(device: torch.device) -> dict[str, tuple[str, str]]:
    """Settings that the preset makes on a device: key → value, and what it does.

    bfloat16 and compiling pay on a GPU alone; optimisers are fused everywhere anyway.
    """
    return _ON_ANY_DEVICE | (_ON_A_GPU if device.type == "cuda" else {})
