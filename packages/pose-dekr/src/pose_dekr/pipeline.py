"""DEKR from pixels to poses, for export: as `pose_dekr.decode` finds them at one scale, with a fixed number of rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError
from pose_core.ops.normalizing import normalize
from pose_core.skeleton import Skeleton
from pose_dekr.config import DekrConfig
from pose_dekr.decode import DekrSettings
from pose_dekr.flip import forward_flip
from pose_dekr.rescore import ScoreNet, pose_features


class FixedPoses(NamedTuple):
    """P poses, the best first: ``keypoints`` ``(P, K, 2)``, ``scores`` ``(P, K)``, ``pose_scores`` ``(P,)``.

    Only the rows where ``found`` ``(P,)`` is true are poses; the others are zero.
    """

    keypoints: Tensor
    scores: Tensor
    pose_scores: Tensor
    found: Tensor


class DekrPipeline(Pipeline):
    """One image ``(1, H, W, 3)`` uint8 RGB → `FixedPoses` in its pixels, duplicates already suppressed."""

    script = "whole"
    rest = "resize the image before, and map the keypoints back to it after"

    def __init__(
        self, network: nn.Module, config: DekrConfig, skeleton: Skeleton, score_net: ScoreNet | None, *, flip: bool
    ) -> None:
        super().__init__()
        decoding = config.decode_settings()
        if not isinstance(decoding, DekrSettings) or decoding.use_heatmap:
            raise ConfigError(
                "--end-to-end and --bundle export regressed poses; the Gaussian fits of Bottom-Up and of "
                "test.match_heatmap=true have no ONNX operator: export the network alone, or DEKR with "
                "test.match_heatmap=false"
            )
        if tuple(config.test.scales) != (1.0,):
            raise ConfigError(
                f"--end-to-end and --bundle export one scale; set test.scales=[1] instead of {list(config.test.scales)}"
            )
        self.network = network
        self.decoding = decoding
        self.flip = flip
        self.score_net = score_net
        self.stride = config.heatmap.stride
        self.is_bgr = config.data.color == "bgr"
        self.pixels = config.data.pixels
        self.multiple = 64
        self.flip_order: Tensor
        self.register_buffer("flip_order", torch.from_numpy(skeleton.flip_order))
        self.settings = {"input_size": list(config.model.input_size), "flip": flip, "max_people": decoding.max_people}

    def forward(self, images: Tensor) -> FixedPoses:
        x = normalize(images.flip(3) if self.is_bgr else images, pixels=self.pixels)
        (fused,) = forward_flip(self.network, x, self.flip_order, keep_edge=True, flip=self.flip)
        maps, count = fused.heatmaps, self.decoding.max_people
        values, index = self._highest_centers(maps[-1])
        is_high = values > self.decoding.center_threshold
        points = fused.poses.flatten(1)[:, index].T.reshape(count, -1, 2) * self.stride
        heat = _at(maps[:-1], points, self.stride)
        kept = self._best_of_similar(points, heat.mean(1), is_high)
        scores = values[:, None] * heat
        total = scores.mean(1)
        if self.score_net is not None:
            total = total * torch.nan_to_num(self.score_net(pose_features(points, scores)), nan=0.0)
        order = torch.where(kept, total, -torch.inf).topk(count).indices
        found = kept[order]
        # The order of the other rows is not defined.
        return FixedPoses(
            torch.where(found[:, None, None], points[order], 0),
            torch.where(found[:, None], scores[order], 0),
            torch.where(found, total[order], 0),
            found,
        )

    def _highest_centers(self, center: Tensor) -> tuple[Tensor, Tensor]:
        """Return value and pixel of the highest maxima of a center map ``(H, W)``; its size decides the window."""
        side = torch.scalar_tensor(center.shape[0] + center.shape[1]) / 2
        small, middle, large = (F.max_pool2d(center[None], size, 1, size // 2)[0] for size in (3, 5, 7))
        chosen = center == torch.where(side > 300, large, torch.where(side > 200, middle, small))
        values, index = torch.where(chosen, center, 0).flatten().topk(self.decoding.max_people)
        return values, index

    def _best_of_similar(self, points: Tensor, merit: Tensor, valid: Tensor) -> Tensor:
        """Return which rows ``(P,)`` are kept of poses ``(P, K, 2)``, as `pose_dekr.decode.suppress` does."""
        extent = points.amax(1) - points.amin(1)
        reach = self.decoding.nms * extent.square().sum(1).sqrt()
        apart = (points[:, None] - points[None]).square().sum(3).sqrt()
        similar = (apart < reach[:, None, None]).sum(2) > self.decoding.nms_joints
        count = len(points)
        near = (similar & valid[:, None] & valid) | torch.eye(count, dtype=torch.bool, device=points.device)
        best = torch.where(near, merit, -torch.inf).argmax(1)
        earlier = torch.ones(count, count, dtype=torch.bool, device=points.device).tril(-1)
        blocked_by = (near.T | near.T[best]) & earlier
        active = valid
        # The longest chain of dependencies has as many links as there are rows.
        for _ in range(count):
            active = valid & ~(blocked_by & active).any(1)
        rows = torch.arange(count, device=points.device)
        return ((best[:, None] == rows) & active[:, None]).any(0)


def _at(maps: Tensor, points: Tensor, ratio: int) -> Tensor:
    """Return maps ``(K, h, w)`` at the floored ``points`` ``(P, K, 2)`` in base pixels, as `Grid.at` interpolates."""
    height, width = maps.shape[1:]
    x = points[..., 0].floor().clamp(0, width * ratio - 1)
    y = points[..., 1].floor().clamp(0, height * ratio - 1)
    across, down = (x / ratio).clamp(max=width - 1), (y / ratio).clamp(max=height - 1)
    left, top = across.long(), down.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    u, v = across - left, down - top
    flat = maps.flatten(1)

    def value(row: Tensor, column: Tensor) -> Tensor:
        return flat.gather(1, (row * width + column).T).T

    upper = value(top, left) * (1 - u) + value(top, right) * u
    lower = value(bottom, left) * (1 - u) + value(bottom, right) * u
    return upper * (1 - v) + lower * v
