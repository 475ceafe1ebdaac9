"""Associative embedding from pixels to the peaks of every joint with their tags, for export."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_advpose.config import EmbeddingConfig
from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError
from pose_core.ops.normalizing import normalize


class JointPeaks(NamedTuple):
    """``heatmaps`` ``(K, h, w)``, ``tags`` ``(D, K, h, w)``, and the P highest peaks of each joint, the highest first.

    ``keypoints`` ``(K, P, 2)`` are in the input's pixels, with the quarter-pixel shift; ``scores`` ``(K, P)``;
    ``keypoint_tags`` ``(K, P, D)``. Rows with a score of 0 are no peaks, and zero.
    """

    heatmaps: Tensor
    tags: Tensor
    keypoints: Tensor
    scores: Tensor
    keypoint_tags: Tensor


class EmbeddingPipeline(Pipeline):
    """One image ``(1, H, W, 3)`` uint8 RGB → `JointPeaks`; ``run`` returns heatmaps and tags of a normalized image."""

    script = None
    rest = (
        "resize the image before; group the peaks into people by their tags after (an optimal assignment, which no "
        "ONNX operator solves: see pose_advpose.grouping)"
    )

    def __init__(
        self,
        network: nn.Module,
        config: EmbeddingConfig,
        run: Callable[[Tensor], tuple[Tensor, Tensor]],
        *,
        multiple: int,
        flip: bool,
    ) -> None:
        super().__init__()
        if tuple(config.test.scales) != (1.0,):
            raise ConfigError(f"--end-to-end exports one scale; set test.scales=[1], not {list(config.test.scales)}")
        self.network = network
        self.run = run
        self.multiple = multiple
        self.threshold = config.test.detection_threshold
        self.count = config.test.max_people
        self.window = config.test.peak_window
        self.corner = 0.5 if config.test.convention == "unbiased" else 0.0
        self.is_bgr = config.data.color == "bgr"
        self.pixels = config.data.pixels
        self.settings = {
            "input_size": list(config.model.input_size),
            "flip": flip,
            "max_people": self.count,
            "detection_threshold": self.threshold,
            "tag_threshold": config.test.tag_threshold,
        }

    def forward(self, images: Tensor) -> JointPeaks:
        heat, tags = self.run(normalize(images.flip(3) if self.is_bgr else images, pixels=self.pixels))
        heat = heat.clamp_max(1)
        height, width = heat.shape[1:]
        is_peak = (heat == functional.max_pool2d(heat[None], self.window, 1, self.window // 2)[0]) & (
            heat > self.threshold
        )
        scores, index = torch.where(is_peak, heat, 0).flatten(1).topk(self.count)
        wide = torch.scalar_tensor(width, dtype=index.dtype)  # a number that may vary has no remainder in ONNX
        column, row = index % wide, index // wide

        def value(x: Tensor, y: Tensor) -> Tensor:
            return heat.flatten(1).gather(1, y.clamp(0, height - 1) * width + x.clamp(0, width - 1))

        right = value(column + 1, row) > value(column - 1, row)
        below = value(column, row + 1) > value(column, row - 1)
        x, y = column + 0.25 + 0.5 * right - self.corner, row + 0.25 + 0.5 * below - self.corner
        ratio = torch.scalar_tensor(images.shape[2]) / width
        found = tags.flatten(2).gather(2, index.expand(len(tags), -1, -1))
        points, is_found = torch.stack([x, y], 2) * ratio, (scores > 0)[..., None]
        # The order of the other rows is not defined.
        points, found = torch.where(is_found, points, 0), torch.where(is_found, found.permute(1, 2, 0), 0)
        return JointPeaks(heat, tags, points, scores, found)
