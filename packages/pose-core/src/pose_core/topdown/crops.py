"""Top-down inference: crops to keypoints in image pixels. The hot path of evaluation and prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pose_core.geometry import Array, apply_affines
from pose_core.ops.normalizing import Pixels, normalize
from pose_core.runtimes.networks import way_of
from pose_core.skeleton import Skeleton
from pose_core.topdown.codec import HeatmapCodec, last
from pose_core.topdown.config import TopDownConfig


@dataclass(frozen=True)
class CropSettings:
    """Settings of prediction from crops."""

    codec: HeatmapCodec
    flip_order: tuple[int, ...]
    flip: bool = True
    shift: bool = True
    bias: float = 0.0
    pixels: Pixels = "imagenet"

    @classmethod
    def from_config(cls, config: TopDownConfig, skeleton: Skeleton) -> CropSettings:
        """Return the settings of an experiment."""
        return cls(
            HeatmapCodec.from_config(config),
            tuple(int(joint) for joint in skeleton.flip_order),
            config.test.flip,
            config.test.shift_heatmap and config.heatmap.convention == "published",
            config.heatmap.bias,
            config.data.pixels,
        )


@torch.inference_mode()
def predict_crops(network: nn.Module, images: Tensor, to_image: Array, settings: CropSettings) -> Array:
    """Return keypoints and scores ``(N, K, 3)`` float32, x and y in image pixels.

    ``images`` ``(N, H, W, 3)`` uint8 lie on the network's device, ``to_image`` ``(N, 2, 3)`` maps each crop's pixels to
    its image's. The mirrored images go through the network in the same batch; only the result leaves the device.
    """
    # On a CPU PyTorch's convolutions are up to a third faster in this order, regardless of the weights' order.
    channels_last = images.device.type == "cpu" and way_of(network).runtime == "torch"
    x = normalize(images, pixels=settings.pixels, channels_last=channels_last)
    if settings.flip:
        plain, mirrored = last(network(torch.cat([x, x.flip(3)]))).chunk(2)
        order = torch.tensor(settings.flip_order, device=images.device)
        points, scores = settings.codec.decode_flipped(plain, mirrored, order, shift=settings.shift)
    else:
        points, scores = settings.codec.decode(last(network(x)))
    found = torch.cat([points.float(), scores[..., None].float()], -1).cpu().numpy()
    # Float32 would lose a hundredth of a pixel on large images.
    found[..., :2] = apply_affines(to_image.astype(np.float64, copy=False), found[..., :2]) - settings.bias
    return found
