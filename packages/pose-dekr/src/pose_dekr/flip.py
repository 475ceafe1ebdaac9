"""Conversion of offsets to pose maps, and the flip test."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pose_dekr.models import HigherMaps, Maps

Network = Callable[[Tensor], Maps | HigherMaps]


class Fused(NamedTuple):
    """One scale of an image: ``heatmaps`` ``(K+1, H, W)``; ``poses`` ``(2K, H, W)``, the pose at each pixel."""

    heatmaps: Tensor
    poses: Tensor


def offsets_to_poses(offsets: Tensor) -> Tensor:
    """Convert offsets ``(N, 2K, H, W)`` to the pose at each pixel ``(N, 2K, H, W)``, in output pixels."""
    _, channels, height, width = offsets.shape
    columns = torch.arange(width, device=offsets.device, dtype=offsets.dtype).expand(height, -1)
    rows = torch.arange(height, device=offsets.device, dtype=offsets.dtype)[:, None].expand(-1, width)
    pixels = torch.stack([columns, rows]).repeat(channels // 2, 1, 1)
    return pixels - offsets


def fuse(
    heatmaps: Tensor, mirror_heatmaps: Tensor, offsets: Tensor, mirror_offsets: Tensor, flip_order: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean heatmaps ``(N, K+1, H, W)`` and poses ``(N, 2K, h, w)`` of images and their mirror images."""
    # In place: fresh memory of this size costs more than the arithmetic.
    n, channels, height, width = offsets.shape
    with_center = torch.cat([flip_order, flip_order.new_tensor([len(flip_order)])])
    heat = mirror_heatmaps.index_select(1, with_center).flip(3).add_(heatmaps).mul_(0.5)
    # The mean of x − a and of what is W−1 − (W−1−x − b) in the mirror image is x + (b − a) / 2.
    poses = mirror_offsets.reshape(n, channels // 2, 2, height, width).index_select(1, flip_order).flip(4)
    poses.mul_(poses.new_tensor([1.0, -1.0])[:, None, None]).sub_(offsets.reshape(poses.shape)).mul_(0.5)
    poses[:, :, 0] += torch.arange(width, device=offsets.device, dtype=offsets.dtype)
    poses[:, :, 1] += torch.arange(height, device=offsets.device, dtype=offsets.dtype)[:, None]
    return heat, poses.reshape(offsets.shape)


def up_interpolate(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge ``(N, C, h, w)`` to ``size`` (h, w); source pixel i is at r·i exactly, beyond the last values repeat."""
    ratio = [after // before for after, before in zip(size, x.shape[2:], strict=True)]
    inner = [after - r + 1 for after, r in zip(size, ratio, strict=True)]
    x = F.interpolate(x, size=inner, mode="bilinear", align_corners=True)
    return F.pad(x, (0, ratio[1] - 1, 0, ratio[0] - 1), mode="replicate")


def mirrored(images: Tensor, shift: int, *, keep_edge: bool) -> Tensor:
    """Mirror images and shift them left by ``shift`` pixels; the last columns keep their values, or are zero."""
    flipped = images.flip(3)
    moved = flipped.clone() if keep_edge else torch.zeros_like(flipped)
    moved[..., :-shift] = flipped[..., shift:]
    return moved


def mirror_poses(poses: Tensor, order: Tensor) -> Tensor:
    """Mirror back pose maps ``(N, 2K, H, W)`` of mirrored images; ``order`` exchanges left and right joints."""
    n, channels, height, width = poses.shape
    joints = poses.reshape(n, channels // 2, 2, height, width)[:, order]
    joints = torch.stack([width - 1 - joints[:, :, 0], joints[:, :, 1]], 2)
    return joints.reshape(n, channels, height, width).flip(3)


def _merged(output: Maps | HigherMaps, fine: Tensor | None) -> Tensor:
    """Merge an output's heatmaps into one ``(N, K+1, H, W)``."""
    if isinstance(output, Maps):
        return output.heatmaps
    assert fine is not None
    coarse = torch.stack([output.heatmaps_1, output.heatmaps_2, output.heatmaps_3]).amax(0)
    coarse = up_interpolate(coarse, (fine.shape[2], fine.shape[3]))
    return torch.cat([(coarse[:, :-1] + fine) / 2, coarse[:, -1:]], 1)


def forward_flip(
    network: Network, images: Tensor, flip_order: Tensor, *, keep_edge: bool, flip: bool = True
) -> list[Fused]:
    """Run ``network`` on normalized images ``(N, 3, H, W)`` and, with ``flip``, on their mirror images.

    ``flip_order`` ``(K,)`` exchanges left and right joints. ``keep_edge`` is DEKR's way of shifting the mirror image;
    Bottom-Up fills with zeros. Return one `Fused` for each image.
    """
    output = network(images)
    heatmaps = _merged(output, output.fine if isinstance(output, HigherMaps) else None)
    if flip:
        # Output pixels are not symmetric in the image: three input pixels off at stride 4, one at stride 2.
        mirror_output = network(mirrored(images, 3, keep_edge=keep_edge))
        fine = None
        if isinstance(mirror_output, HigherMaps):
            again = network(mirrored(images, 1, keep_edge=keep_edge))
            assert isinstance(again, HigherMaps)
            fine = again.fine
        heatmaps, poses = fuse(
            heatmaps, _merged(mirror_output, fine), output.offsets, mirror_output.offsets, flip_order.to(images.device)
        )
    else:
        poses = offsets_to_poses(output.offsets)
    ratio = heatmaps.shape[3] // poses.shape[3]
    if ratio > 1:
        poses = F.interpolate(poses * ratio, scale_factor=ratio, mode="nearest")
    return [Fused(h, p) for h, p in zip(heatmaps, poses, strict=True)]
