"""The loss of associative embedding's tags: one person's pulled together, different people's pushed apart."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.tags import _fast, _reference


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    """Push and pull of every image, ``(B, 2)``.

    ``tags`` ``(B, N, D)`` are a tag map's numbers in a row, ``keypoints`` ``(B, P, K, 2)`` integers: for each joint of
    a person its place among the N, and whether it counts. People without a joint that counts are nobody, wherever they
    stand in the list; without people both numbers are zero, of one person push is. Every image takes the same path,
    whoever is in it, so that processes with unequal numbers of people never wait for one another.

    Half precision is reckoned in float32.
    """
    with torch.autocast(tags.device.type, enabled=False):
        tags = tags.float() if tags.dtype in {torch.float16, torch.bfloat16} else tags
        if uses_triton("tag_loss", tags) and keypoints.numel():
            from pose_core.ops.tags import _triton

            return _triton.tag_loss(tags, keypoints)
        path = _fast if choose("tag_loss") == "fast" else _reference
        return path.tag_loss(tags, keypoints)
