"""Decoding of heatmaps and poses at several scales into people, in pixels of the base image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pose_core.errors import ConfigError
from pose_dekr.fit import fit_gaussians
from pose_dekr.flip import Fused
from pose_dekr.grid import Grid, average, enlarged, local_maxima, peaks
from pose_dekr.published_fit import fit_as_published


@dataclass(frozen=True)
class DecodeSettings:
    """Settings that both systems share. Distances are in base pixels.

    ``use_heatmap`` moves joints to heatmap peaks and refines them by a fit: Bottom-Up's "final" result, DEKR's
    MATCH_HMP. ``compat`` repeats the published code, see `pose_dekr.config.DekrTestConfig`.
    """

    use_heatmap: bool = False
    max_people: int = 30
    center_threshold: float = 0.01
    max_absorb: float = 75.0
    adjust_threshold: float = 0.05
    window: int = 6
    sigma: float = 2.0
    compat: bool = False


@dataclass(frozen=True)
class BottomUpSettings(DecodeSettings):
    """Settings of Bottom-Up; the defaults are the published ones."""

    use_heatmap: bool = True
    nms_distance: float = 10.0
    nms_overlap: int = 10
    scale_decrease: float = 0.001


@dataclass(frozen=True)
class DekrSettings(DecodeSettings):
    """Settings of DEKR; the defaults are those published for COCO at one scale.

    CrowdPose has ``nms_joints`` 7 and ``decrease`` 0.8; results at several scales were published with ``nms`` 0.15.
    """

    nms: float = 0.05
    nms_joints: int = 8
    decrease: float = 0.9


class CandidatePoses(NamedTuple):
    """Poses of one image: ``points`` ``(N, K, 2)``, ``joint_scores`` ``(N, K)``, ``scores`` ``(N,)``."""

    points: Tensor
    joint_scores: Tensor
    scores: Tensor


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return the scales from large to small; refuse lists that cannot be evaluated."""
    bad = [scale for scale in scales if not scale > 0]
    if bad:
        raise ConfigError(f"test scales {list(scales)}: {bad[0]} is not a positive number; remove it")
    if 1 not in scales:
        raise ConfigError(f"test scales {list(scales)} lack 1, to which the other scales' scores are normalized; add 1")
    return tuple(sorted({float(scale) for scale in scales}, reverse=True))


def decode(
    outputs: Mapping[float, Fused], base_size: tuple[int, int], settings: BottomUpSettings | DekrSettings
) -> CandidatePoses:
    """Decode the outputs of `forward_flip` at each scale into the people of one image.

    ``base_size`` (w, h) is the network's input at scale 1. Poses are not ordered, and joints may be outside the image.
    """
    order = check_scales(list(outputs))
    scales = [outputs[scale] for scale in order]
    maps = [fused.heatmaps for fused in scales]
    is_large = settings.compat and settings.use_heatmap
    grid = enlarged(maps, base_size) if is_large else average(maps, base_size)
    full = outputs[1.0]
    if isinstance(settings, BottomUpSettings):
        return _decode_bottomup(scales, full, grid, settings)
    return _decode_dekr(scales, full, grid, settings)


def _decode_bottomup(scales: Sequence[Fused], full: Fused, grid: Grid, settings: BottomUpSettings) -> CandidatePoses:
    highest = full.heatmaps[-1].max()
    found = []
    for fused in scales:
        factor = 1.0 if fused is full else settings.scale_decrease
        center = fused.heatmaps[-1]
        top = center.max()
        scaled = factor * center / top * highest
        # A map without a positive value has no people; the published code inverts it if scale 1 has any.
        center = scaled if settings.compat else torch.where(top > 0, scaled, 0)
        threshold = settings.center_threshold * factor
        found.append(_candidates(center, fused.poses, threshold, grid.size[0] / center.shape[1], settings.max_people))
    points, centers = (torch.cat(parts) for parts in zip(*found, strict=True))
    close = _apart(points) < settings.nms_distance
    kept = suppress(close.sum(2) > settings.nms_overlap, centers, settings.max_people)
    points, centers = points[kept], centers[kept]
    if not settings.use_heatmap:
        scores = centers[:, None] * _sample(grid, points)
        return CandidatePoses(points, scores, scores.mean(1))
    points, heat = absorb(grid, points, settings, threshold=0.01)
    scores = centers[:, None] * heat
    whole = (points + 0.5).trunc()
    inner = torch.tensor(grid.size, device=points.device) - 1
    selected = (scores > settings.adjust_threshold) & ((whole > 0) & (whole < inner)).all(2)
    points, heights = _refine(grid, points, whole, selected, settings)
    scores = torch.where(heights.isnan(), scores, heights * centers[:, None])
    return CandidatePoses(points, scores, scores.mean(1))


def _decode_dekr(scales: Sequence[Fused], full: Fused, grid: Grid, settings: DekrSettings) -> CandidatePoses:
    found = []
    for fused in scales:
        center = fused.heatmaps[-1]
        ratio = grid.size[0] / center.shape[1]
        found.append(_candidates(center, fused.poses, settings.center_threshold, ratio, settings.max_people))
    highest = next(centers for fused, (_, centers) in zip(scales, found, strict=True) if fused is full)
    top = highest.max() if len(highest) else highest.new_zeros(())
    normed = [
        centers if fused is full or not len(centers) else centers / centers.max() * top * settings.decrease
        for fused, (_, centers) in zip(scales, found, strict=True)
    ]
    points, centers = torch.cat([part for part, _ in found]), torch.cat(normed)
    width, height = grid.size
    joints = torch.arange(points.shape[1], device=points.device)
    heat = grid.at(
        joints, points[..., 0].floor().clamp(0, width - 1).long(), points[..., 1].floor().clamp(0, height - 1).long()
    )
    merit = heat.mean(1)
    extent = points.amax(1) - points.amin(1)
    reach = settings.nms * extent.square().sum(1).sqrt()
    close = _apart(points) < reach[:, None, None]
    kept = suppress(close.sum(2) > settings.nms_joints, merit, settings.max_people)
    points, scores = points[kept], (centers[:, None] * heat)[kept]
    if settings.use_heatmap:
        points, _ = absorb(grid, points, settings, threshold=0.0)
        whole = (points + 0.5).trunc()
        limit = torch.tensor(grid.size, device=points.device, dtype=points.dtype) - 1
        whole = torch.minimum(whole.clamp(min=0), limit)
        points, _ = _refine(grid, points, whole, scores > settings.adjust_threshold, settings)
    return CandidatePoses(points, scores, scores.mean(1))


def _candidates(
    center: Tensor, poses: Tensor, threshold: float, ratio: float, max_people: int
) -> tuple[Tensor, Tensor]:
    """Return poses ``(N, K, 2)`` in base pixels at the peaks of a center map ``(H, W)``, and the peaks' values."""
    height, width = center.shape
    side = (height + width) / 2
    kernel = 7 if side > 300 else 5 if side > 200 else 3
    values = torch.where(local_maxima(center[None], kernel)[0], center, 0).flatten()
    values, index = values.topk(min(max_people, len(values)))
    is_high = values > threshold
    values, index = values[is_high], index[is_high]
    return poses.flatten(1)[:, index].T.reshape(len(index), len(poses) // 2, 2) * ratio, values


def _apart(points: Tensor) -> Tensor:
    """Return the distances ``(N, N, K)`` between the joints of poses ``(N, K, 2)``, without cdist's rounding."""
    return (points[:, None] - points).square().sum(3).sqrt()


def suppress(similar: Tensor, merit: Tensor, max_people: int) -> Tensor:
    """Return the indices of the poses to keep: the best by ``merit`` ``(N,)`` of the ``similar`` ones ``(N, N)``.

    The published loop goes through the poses in order: if neither a pose nor the best pose similar to it has been
    suppressed, the best one is kept, and all similar ones are suppressed. Whether a pose is skipped depends only on
    earlier poses, so iterating over all poses in parallel converges after as many rounds as the longest chain of such
    dependencies.
    """
    near = similar | torch.eye(len(similar), dtype=torch.bool, device=similar.device)
    best = torch.where(near, merit, -torch.inf).argmax(1) if len(merit) else merit.long()
    earlier = near.new_ones(near.shape).tril(-1)
    blocked_by = (near.T | near.T[best]) & earlier
    active = near.new_ones(len(near))
    while True:
        corrected = ~(blocked_by & active).any(1)
        if torch.equal(corrected, active):
            break
        active = corrected
    kept = best[active]
    if len(kept) > max_people:
        kept = kept[merit[kept].sort(descending=True, stable=True).indices[:max_people]]
    return kept


def _sample(grid: Grid, points: Tensor) -> Tensor:
    """Sample the heatmap bilinearly at ``points`` ``(N, K, 2)``; values ``(N, K)`` are 0 beyond the border."""
    first = points.trunc()
    u, v = (points - first).unbind(-1)
    x, y = first.unbind(-1)
    width, height = grid.size
    inside = (x >= 0) & (y >= 0) & (x + 1 < width) & (y + 1 < height)
    left, top = x.clamp(0, width - 2).long(), y.clamp(0, height - 2).long()
    joints = torch.arange(points.shape[1], device=points.device)
    upper = grid.at(joints, left, top) * (1 - u) + grid.at(joints, left + 1, top) * u
    lower = grid.at(joints, left, top + 1) * (1 - u) + grid.at(joints, left + 1, top + 1) * u
    return (upper * (1 - v) + lower * v) * inside


def absorb(grid: Grid, points: Tensor, settings: DecodeSettings, *, threshold: float) -> tuple[Tensor, Tensor]:
    """Move joints ``(N, K, 2)`` to the nearest heatmap peak within ``max_absorb``; return them and the values there.

    A joint that is not moved has the value of its own pixel; with ``compat`` that of the pixel with x and y exchanged.
    ``threshold`` is the least value of a peak; with ``compat`` joints also move to lower ones, which then count as 0.
    """
    count = points.shape[1]
    grid = grid._replace(values=grid.values[:count])
    places, heights = peaks(grid, settings.max_people, threshold, fill=settings.compat)
    # Beyond the last grid line the map repeats, so that every repeated pixel is a peak as well: take the nearest.
    last = torch.tensor(grid.values.shape[:0:-1], device=points.device) - 1
    spread = (places == last * grid.ratio) * (grid.ratio - 1)
    nearest = torch.minimum((points[:, :, None] - places).round().clamp(min=0), spread.to(points.dtype))
    candidates = places + nearest
    distances = (points[:, :, None] - candidates).square().sum(-1).sqrt()
    if not settings.compat:
        distances = torch.where(heights > 0, distances, torch.inf)
    distance, index = distances.min(2)
    taken = candidates.gather(2, index[..., None, None].expand(-1, -1, 1, 2))[:, :, 0].to(points.dtype)
    joints = torch.arange(count, device=points.device)
    column, row = points.trunc().unbind(-1)
    if settings.compat:
        column, row = row, column
    width, height = grid.size
    own = grid.at(joints, column.clamp(0, width - 1).long(), row.clamp(0, height - 1).long())
    is_near = distance < settings.max_absorb
    return torch.where(is_near[..., None], taken, points), torch.where(is_near, heights[joints, index], own)


def _refine(
    grid: Grid, points: Tensor, whole: Tensor, selected: Tensor, settings: DecodeSettings
) -> tuple[Tensor, Tensor]:
    """Fit a Gaussian around each ``selected`` joint ``(N, K)``; return joints, and fitted heights or NaN."""
    heights = torch.full_like(points[..., 0], torch.nan)
    person, joint = selected.nonzero(as_tuple=True)
    if not len(person):
        return points, heights
    x, y = whole[person, joint].long().unbind(-1)
    reach = torch.arange(-settings.window, settings.window + 1, device=points.device)
    columns, rows = x[:, None] + reach, y[:, None] + reach
    width, height = grid.size
    valid_x, valid_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    if settings.compat:
        windows = grid.at(
            joint[:, None, None], columns.clamp(0, width - 1)[:, None, :], rows.clamp(0, height - 1)[:, :, None]
        )
        fitted, is_good = fit_as_published(windows, valid_y, valid_x, settings.sigma)
    else:
        windows = grid.windows(joint, x, y, settings.window)
        center = windows[:, settings.window, settings.window]
        found = fit_gaussians(windows, valid_y, valid_x, center, settings.sigma)
        fitted, is_good = (each.to(points.device) for each in found)
    moved = torch.stack([x + fitted[:, 2], y + fitted[:, 1]], 1).to(points.dtype)
    points = points.clone()
    points[person[is_good], joint[is_good]] = moved[is_good]
    heights[person[is_good], joint[is_good]] = fitted[is_good, 0].to(points.dtype)
    return points, heights
