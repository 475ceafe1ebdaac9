"""A network for crops of one person, from pixels to keypoints, for export."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_core.engine.interfaces import Pipeline
from pose_core.ops.normalizing import normalize
from pose_core.topdown.codec import last
from pose_core.topdown.config import TopDownConfig
from pose_core.topdown.crops import CropSettings


class Keypoints(NamedTuple):
    """``keypoints`` ``(N, K, 2)`` in the crops' pixels, ``scores`` ``(N, K)``."""

    keypoints: Tensor
    scores: Tensor


class CropPipeline(Pipeline):
    """Crops ``(N, H, W, 3)`` uint8 RGB → `Keypoints`, as `predict_crops` finds them in float32."""

    multiple = None
    script = "crops"
    rest = "crop a person's box with the affine map before, and map the keypoints back to the image after"

    def __init__(self, network: nn.Module, config: TopDownConfig, settings: CropSettings) -> None:
        super().__init__()
        self.network = network
        self.decoding = settings
        self.is_bgr = config.data.color == "bgr"
        self.flip_order: Tensor
        self.register_buffer("flip_order", torch.tensor(settings.flip_order))
        self.settings = {
            "input_size": list(config.model.input_size),
            "convention": config.heatmap.convention,
            "decode": config.heatmap.decode,
            "flip": settings.flip,
            "shift": settings.shift,
            "scale": config.test.scale,
            "bias": config.heatmap.bias,
            "joint_threshold": config.test.joint_threshold,
        }

    def forward(self, images: Tensor) -> Keypoints:
        x = normalize(images.flip(3) if self.is_bgr else images, pixels=self.decoding.pixels)
        codec = self.decoding.codec
        if not self.decoding.flip:
            return Keypoints(*codec.decode(last(self.network(x))))
        both = last(self.network(torch.cat([x, x.flip(3)])))
        count = x.shape[0]  # len() would fix the number of crops
        plain, mirrored = both[:count], both[count:]
        return Keypoints(*codec.decode_flipped(plain, mirrored, self.flip_order, shift=self.decoding.shift))
