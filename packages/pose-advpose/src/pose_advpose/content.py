"""The content losses of both kinds of networks, and the images and heatmaps that the critic sees."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pose_advpose.adversary import AdversarialBatch
from pose_advpose.augment import PartlyLabeledCrops
from pose_advpose.config import EmbeddingConfig, HourglassConfig
from pose_advpose.hrnet import HigherMaps
from pose_advpose.losses import MEASURED_JOINTS, batch_accuracy, embedding_losses, only_labeled, stacked_error
from pose_advpose.targets import keypoint_references, label_maps, people_heatmaps
from pose_core.bottomup.dataset import WholeBatch, labeled_channels
from pose_core.errors import ConfigError
from pose_core.ops.normalizing import normalize
from pose_core.topdown.codec import HeatmapCodec
from pose_core.topdown.dataset import CropBatch


class HourglassContent:
    """Squared error of one person's heatmaps, summed over stacks; as published, unlabeled joints have empty targets."""

    def __init__(self, config: HourglassConfig) -> None:
        self.codec = HeatmapCodec.from_config(config)
        self.compat = config.heatmap.compat
        self.stride, self.sigma = config.heatmap.stride, config.heatmap.sigma
        self.size = config.heatmap_size
        self.pixels, self.channels_last = config.data.pixels, config.train.channels_last

    def __call__(self, network: nn.Module, batch: CropBatch) -> AdversarialBatch:
        images = normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last)
        # As in the published loader, a small pixel is the mean of the four middle ones of its cell.
        small = functional.interpolate(images, (self.size[1], self.size[0]), mode="bilinear", align_corners=False)
        labeled = batch.labeled if isinstance(batch, PartlyLabeledCrops) else None
        return hourglass_batch(network(images), small, self.labels(batch.joints), labeled)

    def labels(self, joints: Tensor) -> Tensor:
        """Return target heatmaps ``(N, K, h, w)`` for joints ``(N, K, 3)`` in input pixels."""
        if self.compat:
            return label_maps(joints, self.size, self.sigma, stride=self.stride)
        return self.codec.encode(joints).heatmaps


class EmbeddingContent:
    """The loss of all people's heatmaps and of the tags that group joints into people."""

    def __init__(self, config: EmbeddingConfig) -> None:
        self.side, self.sigma, self.max_people = config.output_side, config.sigma, config.heatmap.max_people
        self.subpixel = config.heatmap.target == "subpixel"
        self.weights = (config.heatmap.push, config.heatmap.pull)
        self.pixels, self.channels_last = config.data.pixels, config.train.channels_last

    def __call__(self, network: nn.Module, batch: WholeBatch) -> AdversarialBatch:
        images = normalize(batch.images, pixels=self.pixels, channels_last=self.channels_last)
        joints = batch.joints[:, 0]
        stacks = network(images)
        if isinstance(stacks, HigherMaps):
            raise ConfigError(
                "HigherHRNet only predicts with trained weights: there is no loss for its two resolutions; "
                "train ae_hrnet_w32, which has one"
            )
        return embedding_batch(
            stacks,
            images,
            self.labels(joints),
            batch.keep.view(-1, self.side, self.side),
            keypoint_references(joints, self.side, self.max_people),
            self.weights,
            labeled_channels(batch),
        )

    def labels(self, joints: Tensor) -> Tensor:
        """Return target heatmaps ``(N, K, side, side)`` for joints ``(N, P, K, 3)`` in their pixels."""
        return people_heatmaps(joints, self.side, self.sigma, subpixel=self.subpixel)


def hourglass_batch(
    stacks: Sequence[Tensor], small: Tensor, target: Tensor, labeled: Tensor | None = None
) -> AdversarialBatch:
    """Return what the losses need of the stacks' heatmaps and their target, ``(N, K, h, w)`` each.

    The accuracy is that of the last stack. Joints that are not ``labeled`` ``(N, K)`` have no loss: a critic sees empty
    heatmaps for them, real and predicted.
    """
    predicted = stacks[-1].to(target.dtype)
    joints = MEASURED_JOINTS if target.shape[1] > max(MEASURED_JOINTS) else range(target.shape[1])
    accuracy = batch_accuracy(predicted, target, joints)[0]
    error = stacked_error(stacks, target, labeled)
    return AdversarialBatch(small, target, only_labeled(predicted, labeled), error, {"acc": accuracy})


def embedding_batch(
    stacks: Sequence[Tensor],
    images: Tensor,
    heatmaps: Tensor,
    keep: Tensor,
    references: Tensor,
    weights: tuple[float, float] = (1e-3, 1e-3),
    labeled: Tensor | None = None,
) -> AdversarialBatch:
    """Return what the losses need of the stacks' maps ``(N, C, h, w)``, the images and the targets.

    ``weights`` are those of push and pull. Heatmaps of joints that are not ``labeled`` ``(N, K)`` have no loss: a
    critic sees empty ones for them, real and predicted.
    """
    losses = embedding_losses(stacks, heatmaps, keep, references, labeled)
    small = functional.avg_pool2d(images, images.shape[-1] // heatmaps.shape[-1])
    predicted = stacks[-1][:, : heatmaps.shape[1]].to(heatmaps.dtype)
    metrics = {name: value.mean() for name, value in losses._asdict().items()}
    return AdversarialBatch(small, heatmaps, only_labeled(predicted, labeled), losses.total(*weights), metrics)
