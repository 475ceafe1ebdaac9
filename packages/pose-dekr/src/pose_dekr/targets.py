"""Training targets of whole images: heatmaps with trade-off masks, and offsets with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pose_core.ops.constants import constant


@dataclass(frozen=True)
class TargetSpec:
    """Settings of the targets of one output.

    ``center_sigma`` None is the published choice: 4 if the center is channel 17 or later (COCO), else ``sigma``
    (CrowdPose), as the published code uses a fixed index. With ``shared_mask`` all channels have one mask, as in
    Bottom-Up; DEKR has one per channel.
    """

    shared_mask: bool
    sigma: float = 2.0
    center_sigma: float | None = None
    background: float = 0.1
    radius: int = 4


BOTTOMUP = TargetSpec(shared_mask=True)
BOTTOMUP_FINE = TargetSpec(shared_mask=True, background=0.025)
DEKR = TargetSpec(shared_mask=False)


class Targets(NamedTuple):
    """Maps ``heatmaps`` ``(B, K+1, H, W)``, ``masks`` of K+1 or 1 channels; ``offsets``, ``weights`` ``(B, 2K, …)``."""

    heatmaps: Tensor
    masks: Tensor
    offsets: Tensor
    weights: Tensor


def make_targets(joints: Tensor, areas: Tensor, keep: Tensor, spec: TargetSpec) -> Targets:
    """Draw the targets of a batch, on its device.

    ``joints`` ``(B, P, K+1, 3)`` are x, y and visibility in output pixels, the center last; empty slots have
    visibility 0. ``areas`` are ``(B, P)``; ``keep`` ``(B, H, W)`` is 0 for pixels that are not learned.
    """
    heatmaps, masks = make_heatmaps(joints, keep, spec)
    offsets, weights = make_offsets(joints, areas, keep.shape[1:], spec)
    return Targets(heatmaps, masks, offsets, weights)


def only_labeled(targets: Targets, labeled: Tensor) -> Targets:
    """Return targets without a loss on heatmaps of joints that an image's data set does not label, ``(B, K+1)`` bool.

    Offsets of such joints have no weight in any case.
    """
    return targets._replace(masks=targets.masks * labeled[:, :, None, None])


def make_heatmaps(joints: Tensor, keep: Tensor, spec: TargetSpec) -> tuple[Tensor, Tensor]:
    """Draw the heatmaps and masks of `make_targets`; each Gaussian is drawn only within its window."""
    batch, _, channels, _ = joints.shape
    height, width = keep.shape[1:]
    of_center = (4.0 if channels > 17 else spec.sigma) if spec.center_sigma is None else spec.center_sigma
    sigmas = constant((*(spec.sigma,) * (channels - 1), of_center), joints.device, joints.dtype)
    x, y = joints[..., 0], joints[..., 1]
    drawn = (joints[..., 2] > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    side = int(6 * max(spec.sigma, of_center)) + 6
    columns, gaussian_x = _window(x, sigmas, width, side)
    rows, gaussian_y = _window(y, sigmas, height, side)
    inside = (drawn[..., None, None] & (rows >= 0)[..., :, None]) & (columns >= 0)[..., None, :]
    pixels = rows.clamp(min=0)[..., :, None] * width + columns.clamp(min=0)[..., None, :]
    values = torch.exp(-(gaussian_y[..., :, None] + gaussian_x[..., None, :])) * inside
    planes = torch.arange(batch, device=x.device)[:, None, None] * channels + torch.arange(channels, device=x.device)
    flat = (planes[..., None, None] * (height * width) + pixels).reshape(-1)
    heatmaps = joints.new_zeros(batch * channels * height * width)
    heatmaps.scatter_reduce_(0, flat, values.reshape(-1), "amax")
    masks = torch.full_like(heatmaps, spec.background)
    masks.scatter_reduce_(0, flat, inside.reshape(-1).to(masks.dtype), "amax")
    masks = masks.reshape(batch, channels, height, width)
    if spec.shared_mask:
        masks = masks.amax(1, keepdim=True)
    return heatmaps.reshape(batch, channels, height, width), masks * keep[:, None].to(masks.dtype)


def _window(at: Tensor, sigmas: Tensor, size: int, side: int) -> tuple[Tensor, Tensor]:
    """Return the pixels of one axis around each joint, −1 beyond the published window, and the Gaussian's exponents."""
    first = (at - 3 * sigmas - 1).floor()
    end = (at + 3 * sigmas + 2).ceil()
    pixels = first[..., None] + torch.arange(side, device=at.device, dtype=at.dtype)
    is_in = (pixels < end[..., None]) & (pixels >= 0) & (pixels < size)
    exponent = (pixels - at[..., None]).square() / (2 * sigmas.square())[:, None]
    return torch.where(is_in, pixels, -1).long(), exponent


def make_offsets(joints: Tensor, areas: Tensor, size: tuple[int, ...], spec: TargetSpec) -> tuple[Tensor, Tensor]:
    """Draw the offsets and weights of `make_targets`.

    Where people overlap, the published rule depends on areas and on the order of people, and once a pixel is assigned
    to a person for one joint, so it is for its later joints. As published, an offset of exactly zero counts as not set.
    """
    batch, people, channels, _ = joints.shape
    height, width = size
    count = channels - 1
    pixels, columns, rows = _center_windows(joints[:, :, -1], height, width, spec.radius)
    x, y = joints[:, :, :-1, 0], joints[:, :, :-1, 1]
    labeled = (joints[:, :, :-1, 2] > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    # One more pixel, H·W, receives what is outside the map.
    offsets = joints.new_zeros(batch, count, 2, height * width + 1)
    weights = joints.new_zeros(batch, count, height * width + 1)
    owner_area = joints.new_zeros(batch, height * width + 1)
    for person in range(people):
        at = pixels[:, person]
        three, four = at[:, None].expand(-1, count, -1), at[:, None, None].expand(-1, count, 2, -1)
        before = offsets.gather(3, four)
        area = areas[:, person, None].to(joints.dtype)
        is_new = labeled[:, person, :, None] & (before == 0).all(2)
        is_owner = is_new.cummax(1).values | (owner_area.gather(1, at) >= area)[:, None]
        writes = labeled[:, person, :, None] & is_owner
        steps = torch.stack(
            [columns[:, person, None] - x[:, person, :, None], rows[:, person, None] - y[:, person, :, None]], 2
        )
        offsets.scatter_(3, four, torch.where(writes[:, :, None], steps, before))
        share = area.clamp(min=torch.finfo(area.dtype).tiny).rsqrt()[:, None]
        weights.scatter_(2, three, torch.where(writes, share, weights.gather(2, three)))
        owner_area.scatter_(1, at, torch.where(writes.any(1), area, owner_area.gather(1, at)))
        # Reset the extra pixel, which must not count as assigned.
        offsets[..., -1], weights[..., -1], owner_area[..., -1] = 0, 0, 0
    offsets = offsets[..., :-1].reshape(batch, 2 * count, height, width)
    weights = weights[..., :-1].reshape(batch, count, 1, height, width).expand(-1, -1, 2, -1, -1)
    return offsets, weights.reshape(batch, 2 * count, height, width)


def _center_windows(centers: Tensor, height: int, width: int, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return flat pixel indices ``(B, P, n)`` around each center, H·W if outside, and their columns and rows."""
    column, row = centers[..., 0].trunc(), centers[..., 1].trunc()
    present = (centers[..., 2] > 0) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
    reach = torch.arange(-radius, radius, device=centers.device, dtype=centers.dtype)
    columns = (column[..., None, None] + reach).expand(-1, -1, len(reach), -1).flatten(2)
    rows = (row[..., None, None] + reach[:, None]).expand(-1, -1, -1, len(reach)).flatten(2)
    inside = present[..., None] & (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    return torch.where(inside, rows * width + columns, height * width).long(), columns, rows
