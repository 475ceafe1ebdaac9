"""Multi-person prediction by heatmaps and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_advpose.config import EmbeddingConfig
from pose_advpose.grouping import Grouped, GroupingSettings, assignment_order, group
from pose_advpose.hrnet import HigherMaps
from pose_advpose.pipeline import EmbeddingPipeline
from pose_core.bottomup.predictor import BottomUpPredictor, People, View, Views
from pose_core.bottomup.resize import resize_for_test
from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError
from pose_core.geometry import PIXEL_STD, Convention, Crop, invert_affine
from pose_core.models.network import PoseNetwork
from pose_core.skeleton import Skeleton

MAX_HEAT = 5.0
"""Scales whose heatmaps exceed this value are skipped: the network diverged there."""


def views_at_scales(width: int, height: int, *, input_size: int, scales: tuple[float, ...]) -> list[View]:
    """Return a view per scale: the long side of the image fills a square whose side is a multiple of 64."""
    center, long = np.array([width / 2, height / 2]), max(width, height) / PIXEL_STD
    views = []
    for scale in scales:
        side = int((input_size * scale + 63) // 64) * 64
        views.append(View((side, side), Crop(center, np.array([long, long]), (side, side)).matrix))
    return views


def short_side_views(
    width: int, height: int, *, input_size: int, scales: tuple[float, ...], convention: Convention
) -> list[View]:
    """Return a view per scale whose short side is the input size."""
    sizes = [resize_for_test((width, height), input_size, scale, convention) for scale in scales]
    return [View(size.size, size.matrix) for size in sizes]


class EmbeddingPredictor(BottomUpPredictor):
    """Prediction by associative embedding: heatmap peaks, grouped into people by their tags.

    Scales are run from large to small; maps are resized to those of the largest, or with ``test.resize_maps`` to the
    input of scale 1. Tags come from scales that differ from 1 by less than a half; the tags of the mirror image are
    additional dimensions. HigherHRNet's heatmaps are the mean of its two resolutions.
    """

    config: EmbeddingConfig

    def __init__(self, network: nn.Module, config: EmbeddingConfig, skeleton: Skeleton, device: torch.device) -> None:
        super().__init__(network, config, skeleton, device)
        test = config.test
        self.scales = tuple(sorted(test.scales, reverse=True))
        self.grouping = GroupingSettings(
            assignment_order(skeleton),
            detection_threshold=test.detection_threshold,
            tag_threshold=test.tag_threshold,
            max_people=test.max_people,
            refine=test.refine,
            compat=test.compat,
            window=test.peak_window,
        )
        self.align = test.convention == "unbiased"
        self.flip_order = torch.from_numpy(skeleton.flip_order).to(device)
        self.decode_name = "tags" + ("+refine" if test.refine else "") + ("" if test.compat else "+capped")

    @property
    def views(self) -> Views:
        side, test = self.config.model.input_size[0], self.config.test
        if test.fit == "short":
            return partial(short_side_views, input_size=side, scales=self.scales, convention=test.convention)
        return partial(views_at_scales, input_size=side, scales=self.scales)

    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        heat: Tensor | None = None
        tags: list[Tensor] = []
        base = views[0]
        size: tuple[int, ...] | None = None
        if self.config.test.resize_maps:
            base = views[self.scales.index(1.0)]
            size = base.size[::-1]
        for scale, image, view in zip(self.scales, images, views, strict=True):
            own_heat, own_tags = self._run(image)
            if not bool(own_heat.max() <= MAX_HEAT):
                continue
            if size is None:
                size, base = tuple(own_heat.shape[-2:]), view
            own_heat = _resized(own_heat, size, self.align)
            heat = own_heat if heat is None else heat + own_heat
            if abs(scale - 1) < 0.5:
                tags += _resized(own_tags, size, self.align)
        joints = self.skeleton.num_joints
        if heat is None or not tags:
            # No people can be people without heatmaps, nor grouped without tags.
            return {"": People(torch.zeros(0, joints, 2), torch.zeros(0, joints), torch.zeros(0))}
        # As published, skipped scales count in the mean.
        people = group((heat / len(self.scales)).clamp_max(1), torch.stack(tags), self.grouping)
        return {"": _in_image(people, base, heat.shape[-1], self.config.test.convention)}

    def pipeline(self, network: nn.Module, *, flip: bool) -> Pipeline:
        # A predictor like this one, whose network is not optimized for PyTorch on this device.
        plain = copy(self)
        plain.network, plain.flip_order = network, self.flip_order.cpu()
        plain.config = self.config.model_copy(update={"test": self.config.test.model_copy(update={"flip": flip})})
        multiple = network.divisor if isinstance(network, PoseNetwork) else 64
        return EmbeddingPipeline(network, plain.config, plain._maps, multiple=multiple, flip=flip)

    def _maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return heatmaps ``(K, h, w)`` and tags ``(D, K, h, w)`` of one size, in which joints are searched."""
        heat, tags = self._run(image)
        size = tuple((image if self.config.test.resize_maps else heat).shape[-2:])
        return _resized(heat, size, self.align), _resized(tags, size, self.align)

    def _run(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return heatmaps ``(K, h, w)`` and tags ``(D, K, h, w)`` of an image ``(1, 3, H, W)``, flip test included."""
        joints, flip = self.skeleton.num_joints, self.config.test.flip
        output = self.network(torch.cat([image, image.flip(3)]) if flip else image)
        maps = (output.coarse if isinstance(output, HigherMaps) else output[-1]).float()
        if maps.shape[1] < 2 * joints:
            raise ConfigError(
                f"network {self.config.model.name!r} has {maps.shape[1]} output maps; {joints} joints need "
                f"{2 * joints}, heatmaps and tags: raise model.options.outputs, or remove it"
            )
        heat, tags = maps[:, :joints], maps[:, joints : 2 * joints]
        if isinstance(output, HigherMaps):
            heat = (_resized(heat, tuple(output.fine.shape[-2:]), self.align) + output.fine.float()) / 2
        if not flip:
            return heat[0], tags
        back = [part[1:].flip(3)[:, self.flip_order] for part in (heat, tags)]
        return (heat[0] + back[0][0]) / 2, torch.cat([tags[:1], back[1]])


def _resized(maps: Tensor, size: tuple[int, ...], align: bool) -> Tensor:
    """Resize maps ``(K, h, w)`` or ``(D, K, h, w)`` to ``size`` (h, w); with ``align`` corner pixels stay corners."""
    if maps.shape[-2:] == size:
        return maps
    whole = maps.reshape(-1, *maps.shape[-3:])
    return functional.interpolate(whole, size=size, mode="bilinear", align_corners=align).reshape(
        *maps.shape[:-2], *size
    )


def _in_image(people: Grouped, base: View, width: int, convention: Convention) -> People:
    """Map people to image pixels. A missing joint is placed at the mean of its person's other joints.

    ``width`` is that of the maps. Grouping counts from a pixel's corner, the unbiased convention from its center.
    """
    back = torch.from_numpy(invert_affine(base.matrix)).to(people.points)
    points = people.points - 0.5 if convention == "unbiased" else people.points * (base.size[0] / width)
    points = points @ back[:, :2].T + back[:, 2]
    has = (people.values > 0)[..., None]
    middle = (points * has).sum(1, keepdim=True) / has.sum(1, keepdim=True)
    return People(torch.where(has, points, middle), people.values, people.scores)
