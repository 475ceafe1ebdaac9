"""Multi-person prediction with a network of either system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pose_core.bottomup.predictor import BottomUpPredictor, People, View, Views
from pose_core.bottomup.resize import resize_for_test
from pose_core.engine.interfaces import Pipeline
from pose_core.errors import ConfigError
from pose_core.geometry import invert_affine
from pose_core.plugins.checkpoints import locate_weights
from pose_core.skeleton import Skeleton
from pose_dekr.config import DekrConfig
from pose_dekr.decode import BottomUpSettings, DekrSettings, check_scales, decode
from pose_dekr.flip import Fused, forward_flip
from pose_dekr.pipeline import DekrPipeline
from pose_dekr.rescore import load_score_net, rescore


def views_at_scales(width: int, height: int, *, input_size: int, scales: tuple[float, ...]) -> list[View]:
    """Return a view of an image per scale, from large to small."""
    sizes = [resize_for_test((width, height), input_size, scale) for scale in scales]
    return [View(size.size, size.matrix) for size in sizes]


class DekrPredictor(BottomUpPredictor):
    """Prediction by regression from centers; Bottom-Up's final result and ``match_heatmap`` move joints to peaks."""

    config: DekrConfig

    def __init__(self, network: nn.Module, config: DekrConfig, skeleton: Skeleton, device: torch.device) -> None:
        super().__init__(network, config, skeleton, device)
        self.decoding = config.decode_settings()
        self.is_dekr = config.is_dekr
        self.scales = check_scales(config.test.scales)
        self.flip_order = torch.from_numpy(skeleton.flip_order).to(device)
        self.score_net = None
        if config.rescore.use:
            self.score_net = load_score_net(find_score_net(config), skeleton.num_joints).to(device)
        moves = config.test.match_heatmap if self.is_dekr else config.test.result == "final"
        self.decode_name = "regression+heatmap" if moves else "regression"
        self.decode_name += "+rescore" if self.score_net is not None else ""

    @property
    def views(self) -> Views:
        return partial(views_at_scales, input_size=self.config.model.input_size[0], scales=self.scales)

    def find(self, images: Sequence[Tensor], views: Sequence[View]) -> Mapping[str, People]:
        flip = self.config.test.flip
        outputs: dict[float, Fused] = {}
        for scale, image in zip(self.scales, images, strict=True):
            (fused,) = forward_flip(self.network, image, self.flip_order, keep_edge=self.is_dekr, flip=flip)
            outputs[scale] = Fused(fused.heatmaps.float(), fused.poses.float())
        base = views[self.scales.index(1.0)]
        back = torch.from_numpy(invert_affine(base.matrix))
        return {kind: self._people(outputs, base.size, settings, back) for kind, settings in self._kinds()}

    def pipeline(self, network: nn.Module, *, flip: bool) -> Pipeline:
        return DekrPipeline(network, self.config, self.skeleton, self.score_net, flip=flip)

    def _kinds(self) -> list[tuple[str, DekrSettings | BottomUpSettings]]:
        if isinstance(self.decoding, DekrSettings):
            return [("", self.decoding)]
        kinds: list[tuple[str, DekrSettings | BottomUpSettings]] = [
            ("regression", replace(self.decoding, use_heatmap=False)),
            ("final", self.decoding),
        ]
        return sorted(kinds, key=lambda kind: kind[0] == self.config.test.result)

    def _people(
        self,
        outputs: Mapping[float, Fused],
        base_size: tuple[int, int],
        settings: DekrSettings | BottomUpSettings,
        back: Tensor,
    ) -> People:
        poses = decode(outputs, base_size, settings)
        back = back.to(poses.points)
        points = poses.points @ back[:, :2].T + back[:, 2]
        scores = poses.scores
        if self.score_net is not None:
            scores = rescore(self.score_net, points, poses.joint_scores, scores)
        return People(points, poses.joint_scores, scores)


def find_score_net(config: DekrConfig) -> Path:
    """Return the scoring network's file, downloaded if it is named; raise if it is not set or does not exist."""
    how = "make one with pose-dekr rescore-data and rescore-train, or set rescore.use=false"
    if config.rescore.weights is None:
        raise ConfigError(f"rescore.use=true needs rescore.weights, the scoring network's file; {how}")
    path = locate_weights(config.rescore.weights)
    if not path.is_file():
        raise ConfigError(f"rescore.weights {path} does not exist; {how}")
    return path
