"""Target heatmaps and tag indices of a whole batch, on the device of its joints."""

from __future__ import annotations

import torch
from torch import Tensor


def label_maps(joints: Tensor, size: tuple[int, int], sigma: float, *, stride: int = 4) -> Tensor:
    """Draw one person's target heatmaps ``(N, K, h, w)`` as published, for joints ``(N, K, 3)``: input pixels, weight.

    The peak is at a joint's truncated coordinates. The published window ends one row and one column too early, at +3σ
    exclusive; with σ = 1 it is 6×6. Windows that are partly outside the map are drawn as well.
    """
    width, height = size
    centers = (joints[..., :2] / stride).trunc()
    spans = []
    for axis, side in ((0, width), (1, height)):
        center = centers[..., axis, None]
        pixels = torch.arange(side, device=joints.device, dtype=joints.dtype)
        drawn = (pixels >= (center - 3 * sigma).floor()) & (pixels < (center + 3 * sigma).floor())
        spans.append(torch.exp(-(pixels - center).square() / (2 * sigma**2)) * drawn)
    across, down = spans
    return down[..., :, None] * (across * (joints[..., 2:] > 0))[..., None, :]


def people_heatmaps(joints: Tensor, side: int, sigma: float, *, subpixel: bool = False) -> Tensor:
    """Draw heatmaps of all people ``(B, K, side, side)``, for joints ``(B, P, K, 3)``: heatmap pixels, visibility.

    Each visible joint has a Gaussian at its truncated coordinates, cut to 3σ + 1 pixels to each side; where people
    overlap, the larger value counts. Joints outside the map are not drawn. With ``subpixel`` the Gaussian is at the
    joint's exact position; the center of pixel i is at i + 0.5.
    """
    batch, _, count = joints.shape[:3]
    x, y, drawn = _places(joints, side)
    reach = int(3 * sigma + 1)
    steps = torch.arange(-reach, reach + 1, device=joints.device)
    places = torch.stack([x, y], -1)
    offsets = joints[..., :2] - places - 0.5 if subpixel else torch.zeros_like(joints[..., :2])
    across, down = torch.exp(-(steps - offsets[..., None]).square() / (2 * sigma**2)).unbind(-2)
    patch = down[..., :, None] * across[..., None, :]
    columns, rows = x[..., None] + steps, y[..., None] + steps
    map_number = torch.arange(batch * count, device=joints.device).view(batch, 1, count, 1, 1)
    places = (map_number * side + rows[..., :, None]) * side + columns[..., None, :]
    inside = ((columns >= 0) & (columns < side))[..., None, :] & ((rows >= 0) & (rows < side))[..., :, None]
    inside = inside & drawn[..., None, None]
    # Values that are not drawn are 0 and go to the first pixel, where they do not change the maximum.
    values = torch.where(inside, patch, 0)
    places = torch.where(inside, places, 0)
    flat = torch.zeros(batch * count * side * side, device=joints.device, dtype=joints.dtype)
    flat.scatter_reduce_(0, places.reshape(-1), values.reshape(-1), "amax")
    return flat.view(batch, count, side, side)


def keypoint_references(joints: Tensor, side: int, max_people: int = 30) -> Tensor:
    """Return the index of each joint in the flattened tag maps, and 1 if it is present, ``(B, P, K, 2)``.

    Joints that are visible and inside the map come first, in their order; the rest is zero. Only the first
    ``max_people`` people of an image are included.
    """
    joints = joints[:, :max_people]
    x, y, counted = _places(joints, side)
    channel = torch.arange(joints.shape[2], device=joints.device)
    places = torch.where(counted, (channel * side + y) * side + x, 0)
    order = (~counted).to(torch.uint8).argsort(dim=2, stable=True)
    return torch.stack([places.gather(2, order), counted.gather(2, order).long()], -1)


def _places(joints: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return truncated x and y ``(B, P, K)``, and whether a joint is visible and inside the map.

    Truncation is towards zero: a joint between −1 and 0 belongs to the first column.
    """
    x, y = joints[..., 0].trunc().long(), joints[..., 1].trunc().long()
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    return x, y, inside & (joints[..., 2] > 0)
