"""Literal implementation: mirror back, swap left and right, shift, average."""

from __future__ import annotations

import torch
from torch import Tensor


def fuse_flip(plain: Tensor, flipped: Tensor, flip_order: Tensor, shift: bool) -> Tensor:
    back = flipped.flip(3)[:, flip_order]
    if shift:
        back = torch.cat([back[..., :1], back[..., :-1]], -1)
    return (plain + back) * 0.5
