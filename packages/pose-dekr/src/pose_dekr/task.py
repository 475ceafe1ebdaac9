"""Training and evaluation of both systems."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from pose_core.bottomup.dataset import WholeBatch, keep_maps, labeled_channels
from pose_core.bottomup.evaluate import predict_images
from pose_core.bottomup.task import BottomUpTask
from pose_core.engine.interfaces import BuildNetwork, Objective, Update
from pose_core.errors import DataError
from pose_core.layouts.reader import read_dataset
from pose_core.ops.normalizing import normalize
from pose_dekr.config import DekrConfig
from pose_dekr.losses import method_losses
from pose_dekr.people import describe_bottomup, describe_dekr
from pose_dekr.predictor import DekrPredictor
from pose_dekr.rescore import RescoreData, make_rescore_data
from pose_dekr.targets import Targets, make_heatmaps, make_targets, only_labeled


class RegressionObjective(Objective[WholeBatch]):
    """Weighted squared error of heatmaps, and weighted smooth L1 loss of offsets."""

    def __init__(self, config: DekrConfig) -> None:
        self.sizes = config.output_sizes
        self.spec = config.target_spec()
        self.fine_spec = config.target_spec(fine=True) if config.is_higher else None
        self.factor = config.offset.factor
        self.channels_last = config.train.channels_last
        self.pixels = config.data.pixels

    def step(self, networks: Mapping[str, nn.Module], batch: WholeBatch, update: Update) -> dict[str, Tensor]:
        output = networks["pose"](normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last))
        # Losses are computed in single precision, also with mixed-precision training.
        output = type(output)(*(maps.float() for maps in output))
        targets, fine = self.targets(batch)
        losses = method_losses(output, targets, fine)
        loss = sum(losses.values()) + (self.factor - 1) * losses["offset"]
        assert isinstance(loss, Tensor)
        update("pose", loss)
        return {"loss": loss, **losses}

    @torch.no_grad()
    def targets(self, batch: WholeBatch) -> tuple[Targets, Targets | None]:
        """Draw targets at stride 4, and at stride 2 if the network has such maps."""
        keep = keep_maps(batch.keep, self.sizes)
        with torch.autocast(batch.joints.device.type, enabled=False):
            targets = make_targets(batch.joints[:, 0], batch.areas, keep[0], self.spec)
            labeled = labeled_channels(batch)
            if labeled is not None:
                targets = only_labeled(targets, labeled)
            if self.fine_spec is None:
                return targets, None
            heatmaps, masks = make_heatmaps(batch.joints[:, 1], keep[1], self.fine_spec)
            fine = Targets(heatmaps, masks, targets.offsets, targets.weights)
        return targets, fine if labeled is None else only_labeled(fine, labeled)


class DekrTask(BottomUpTask):
    """Training and evaluation of Bottom-Up HRNet or DEKR."""

    config: DekrConfig

    def __init__(self, config: DekrConfig, build: BuildNetwork) -> None:
        super().__init__(config, build)
        drop_small = config.data.layout == "coco"
        if config.is_dekr:
            published = config.offset.area == "published"
            self.describe = partial(describe_dekr, drop_small=drop_small, published_area=published)
        else:
            self.describe = partial(describe_bottomup, drop_small=drop_small)
        self.is_training = False

    @property
    def output_sizes(self) -> tuple[int, ...]:
        return self.config.output_sizes

    def objective(self, device: torch.device) -> Objective[WholeBatch]:
        self.is_training = True
        return RegressionObjective(self.config)

    def target_heatmaps(self, batch: WholeBatch) -> Tensor:
        targets, fine = RegressionObjective(self.config).targets(batch)
        return (targets if fine is None else fine).heatmaps

    def predictor(self, network: nn.Module, device: torch.device) -> DekrPredictor:
        config = self.config
        if self.is_training:
            # A scoring network is trained later, on results of the trained pose network.
            config = config.model_copy(update={"rescore": config.rescore.model_copy(update={"use": False})})
        return DekrPredictor(network, config, self.skeleton, device)


def collect_rescore_data(task: DekrTask, network: nn.Module, split: str, device: torch.device) -> RescoreData:
    """Predict poses on a split, and pair each with its OKS to the person it matches best."""
    config = task.config
    plain = config.rescore.model_copy(update={"use": False})
    config = config.model_copy(update={"rescore": plain})
    annotated = read_dataset(config.data, split, keep_unlabeled=True)
    if not annotated.has_annotations:
        raise DataError(f"split {split} has no annotations to learn from; name another with --split")
    predictor = DekrPredictor(network, config, task.skeleton, device)
    kinds, _ = predict_images(predictor, config, annotated)
    joints = task.skeleton.num_joints
    share = annotated.layout.area_of_box
    return make_rescore_data(annotated.annotation_file, kinds[-1][1], joints, area_of_box=share)
