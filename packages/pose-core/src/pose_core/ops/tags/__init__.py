"""Loss of associative embedding: pull the tags of one person together, push those of different people apart."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_core.ops.dispatch import choose, uses_triton
from pose_core.ops.tags import _fast, _reference

__all__ = ["tag_loss"]


def tag_loss(tags: Tensor, keypoints: Tensor) -> Tensor:
    """Return push and pull of every image, ``(B, 2)``.

    ``tags`` ``(B, N, D)`` are the flattened numbers of a tag map, ``keypoints`` ``(B, P, K, 2)`` integers: for each
    joint of a person its index among the N, and whether it counts. People without a joint that counts are ignored,
    at any position; without people both losses are zero, with one person push is. The number of people never changes
    the graph, so that processes with different numbers of people stay synchronized.

    Half precision is computed in float32.
    """
    with torch.autocast(tags.device.type, enabled=False):
        tags = tags.float() if tags.dtype in {torch.float16, torch.bfloat16} else tags
        if uses_triton("tag_loss", tags) and keypoints.numel():
            from pose_core.ops.tags import _triton

            return _triton.tag_loss(tags, keypoints)
        loss = _fast.tag_loss if choose("tag_loss") == "fast" else _reference.tag_loss
        return loss(tags, keypoints)
