"""The heatmap codec: joints in input pixels to Gaussian targets, heatmaps to keypoints in input pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pose_core.errors import ConfigError
from pose_core.geometry import Size, heatmap_ratio
from pose_core.ops import (
    decode_flipped,
    decode_heatmaps,
    gaussian_heatmaps,
    heatmap_loss_and_accuracy,
    mse_loss,
    peak_accuracy,
    soft_argmax,
)
from pose_core.ops.constants import constant
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.offsets import decode_offsets, fuse_flipped_offsets

Outputs = Tensor | Sequence[Tensor]


COORDINATE_SHARE = 100


class Targets(NamedTuple):
    """``heatmaps`` ``(N, K, H, W)`` and ``weights`` ``(N, K)``, zero for joints without a target."""

    heatmaps: Tensor
    weights: Tensor


@dataclass(frozen=True)
class HeatmapCodec:
    """The conversion of an experiment's joints to heatmaps and back."""

    input_size: Size
    heatmap_size: Size
    sigma: float = 2.0
    quantize: bool = True
    convention: str = "published"
    decode_method: str = "argmax"
    quarter: bool = True
    beta: float = 160.0
    coordinate_loss: bool = False

    @classmethod
    def from_config(cls, config: TopDownConfig) -> HeatmapCodec:
        """Return the codec of an experiment."""
        block = config.heatmap
        return cls(
            input_size=config.model.input_size,
            heatmap_size=config.heatmap_size,
            sigma=block.sigma,
            quantize=block.target == "quantized",
            convention=block.convention,
            decode_method=block.decode,
            quarter=block.quarter,
            beta=block.beta,
            coordinate_loss=block.objective == "coordinate",
        )

    @property
    def ratio(self) -> tuple[float, float]:
        """Return heatmap pixels per input pixel, along x and y."""
        return heatmap_ratio(self.input_size, self.heatmap_size, self.convention)  # type: ignore[arg-type]

    def encode(self, joints: Tensor) -> Targets:
        """Return targets for joints ``(N, K, 3)``: x, y in input pixels and a weight."""
        if self.decode_method == "offset":
            raise ConfigError(
                "heatmap.decode=offset only predicts with trained weights: there are no targets for its offsets. "
                "To train, use another heatmap.decode, without model.options.maps"
            )
        return Targets(
            *gaussian_heatmaps(
                joints[..., :2], joints[..., 2], self.heatmap_size, self.sigma, quantize=self.quantize, ratio=self.ratio
            )
        )

    def decode(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Return keypoints ``(N, K, 2)`` in input pixels and scores ``(N, K)``; of several stacks, the last is used."""
        if self.decode_method == "offset":
            points, scores = decode_offsets(last(outputs).float())
        else:
            points, scores = decode_heatmaps(last(outputs).float(), **self._decoding())
        return self._to_input(points), scores

    def decode_flipped(
        self, outputs: Outputs, mirrored: Outputs, flip_order: Tensor, *, shift: bool
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`decode` of the mean with the network's outputs for the mirrored images."""
        if self.decode_method == "offset":
            fused = fuse_flipped_offsets(last(outputs).float(), last(mirrored).float(), flip_order)
            points, scores = decode_offsets(fused)
        else:
            points, scores = decode_flipped(
                last(outputs).float(), last(mirrored).float(), flip_order, shift=shift, **self._decoding()
            )
        return self._to_input(points), scores

    def _decoding(self) -> dict[str, Any]:
        return {"method": self.decode_method, "quarter": self.quarter, "beta": self.beta, "sigma": self.sigma}

    def _to_input(self, points: Tensor) -> Tensor:
        """Convert points from heatmap pixels to input pixels."""
        return points / constant(self.ratio, points.device, points.dtype)

    def loss(self, outputs: Outputs, joints: Tensor) -> tuple[Tensor, Targets]:
        """Return the loss for joints ``(N, K, 3)``, summed over stacks, and its targets."""
        targets = self.encode(joints)
        stacks = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        total = torch.zeros((), device=joints.device)
        for heatmaps in stacks:
            total = total + mse_loss(heatmaps.float(), targets.heatmaps, targets.weights)
            if self.coordinate_loss:
                total = total + self._coordinate_loss(heatmaps.float(), joints, targets.weights)
        return total, targets

    def loss_and_accuracy(self, outputs: Outputs, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`loss`, and :func:`heatmap_accuracy` for the log."""
        if self.coordinate_loss or self.decode_method == "offset":
            loss, targets = self.loss(outputs, joints)
            return loss, heatmap_accuracy(last(outputs), targets)
        stacks = [outputs] if isinstance(outputs, Tensor) else outputs
        return heatmap_loss_and_accuracy(
            [heatmaps.float() for heatmaps in stacks],
            joints[..., :2],
            joints[..., 2],
            self.sigma,
            quantize=self.quantize,
            ratio=self.ratio,
        )

    def _coordinate_loss(self, heatmaps: Tensor, joints: Tensor, weights: Tensor) -> Tensor:
        """Return the distance of the soft-argmax from the joint, as a share of the map's width.

        A Gaussian of peak 1 is not a probability; a small β keeps gradients nonzero over the map.
        """
        found = soft_argmax(heatmaps, beta=10.0)
        wanted = joints[..., :2] * constant(self.ratio, joints.device)
        distance = torch.nn.functional.smooth_l1_loss(found, wanted, reduction="none").sum(-1)
        return (distance * weights).sum() / weights.sum().clamp_min(1) / (COORDINATE_SHARE * self.heatmap_size[0])


def last(outputs: Outputs) -> Tensor:
    """Return the last stack's heatmaps."""
    return outputs if isinstance(outputs, Tensor) else outputs[-1]


def heatmap_accuracy(heatmaps: Tensor, targets: Targets) -> Tensor:
    """Return the :func:`peak_accuracy` of ``heatmaps`` against the peaks of ``targets``; a number for the log."""
    return peak_accuracy(heatmaps, decode_heatmaps(targets.heatmaps, quarter=False)[0])
